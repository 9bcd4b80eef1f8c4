//! Which images of a workspace are others than what is published.

use std::str::FromStr;

use pixi_oci_layer::Digest;
use pixi_oci_registry::{ErrorKind, RepositoryRef};
use serde_json::Value;

use super::{
    EnvironmentPlan, PastRef, PlanError, PlannedImage, Reason, past,
    past::{Past, PastImage},
    survey::{Survey, survey},
};
use crate::{
    Error, Project, Session,
    build::cache_from,
    publication::{first_repository, tag_suffix},
    stock::Remote,
};

/// What is published, of one or of many workspaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedRef {
    /// `docker://HOST/REPOSITORY[:TAG][@DIGEST]`
    Image(RepositoryRef),
    /// `:TAG` in the first repository that the workspace configures; with the suffix that the environment's tags have.
    Tag(String),
    /// `@sha256:…` there.
    Digest(Digest),
}

impl FromStr for PublishedRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |error: &dyn std::fmt::Display| format!("{text:?}: {error}");
        if let Some(digest) = text.strip_prefix('@') {
            return digest.parse().map(Self::Digest).map_err(|error: pixi_oci_layer::ParseDigestError| bad(&error));
        }
        match text.strip_prefix(':') {
            // What a tag is is checked where it is put together with a repository.
            Some(tag) => Ok(Self::Tag(tag.to_owned())),
            None => text.parse().map(Self::Image).map_err(|error: pixi_oci_registry::ParseRepositoryError| bad(&error)),
        }
    }
}

/// The images that a build makes and that are not published, but for the commit that they say they are of. What cannot be
/// compared counts as another one, and a warning says why. No package is downloaded; the base image may be.
///
/// # Errors
///
/// Workspace or lock file cannot be read; it configures no repository.
pub fn images_since(projects: &[Project], since: &PublishedRef, session: &Session) -> Result<Vec<PlannedImage>, Error> {
    let mut images = Vec::new();
    for project in projects {
        let reference = reference(since, project)?;
        let is_same = same(project, &reference, session)?;
        for target in &project.targets {
            if !is_same.contains(&target.platform.name) {
                let environment = project.configuration.environment.clone();
                images.push(PlannedImage { environment, architecture: target.architecture });
            }
        }
    }
    images.dedup();
    Ok(images)
}

/// Where the workspace's environment is published.
fn reference(since: &PublishedRef, project: &Project) -> Result<RepositoryRef, Error> {
    let (tag, digest) = match since {
        PublishedRef::Image(reference) => return Ok(reference.clone()),
        PublishedRef::Tag(tag) => (Some(tag), None),
        PublishedRef::Digest(digest) => (None, Some(*digest)),
    };
    let no_repository = || PlanError::NoRepository { workspace: project.workspace.root.clone() };
    let repository = first_repository(&project.configuration.oci).ok_or_else(no_repository)?;
    let suffix = tag_suffix(project);
    let tag = tag.map(|tag| format!(":{tag}{suffix}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    let text = format!("docker://{repository}{tag}{digest}");
    text.parse().map_err(|source| PlanError::Reference { source }.into())
}

/// The platforms whose images are what is published.
fn same(project: &Project, reference: &RepositoryRef, session: &Session) -> Result<Vec<String>, Error> {
    let environment = &project.configuration.environment;
    let doubt = |why: &str| {
        session.warn(format!("{environment}: cannot be compared with {reference}, so it counts as changed: {why}"));
    };
    let past = match past(&PastRef::Registry(reference.clone()), session) {
        Ok(past) => past,
        // Nothing was published yet.
        Err(Error::Plan(PlanError::Registry { source, .. })) if source.kind() == ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => {
            doubt(&crate::error::in_one_line(&error));
            return Ok(Vec::new());
        }
    };
    // What is known of its packages and layers is what makes a comparison possible on a machine that has nothing.
    let project = project.with_cache_from(reference);
    let remote = cache_from(&project, session)?;
    let remote = remote.as_ref().map(|remote| remote as &dyn Remote);
    let (plan, _) =
        survey(&Survey { project: &project, all: false, asks_for_base: true, remote, past: Some(&past), session })?;
    for unpredicted in &plan.unpredicted {
        if !matches!(unpredicted.reason, Reason::LayersToBuild | Reason::UnknownPackages) {
            doubt(&unpredicted.message);
        }
    }
    Ok(unchanged(plan, &past))
}

fn unchanged(plan: EnvironmentPlan, past: &Past) -> Vec<String> {
    let is_there =
        |platform: &Option<String>| past.images.iter().any(|image| Some(&image.platform) == platform.as_ref());
    let same = plan.platforms.into_iter().filter(|platform| {
        is_there(&platform.oci_platform) && platform.changes.as_ref().is_some_and(|changes| changes.same == Some(true))
    });
    same.map(|platform| platform.platform).collect()
}

/// Whether an image is what was published, but for the commit that it is of: another commit alone, of a file that is not
/// in the image, makes no other image.
pub fn is_same(image: &pixi_oci_image::Image, past: &PastImage) -> bool {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (manifest, config) = (parse(&image.manifest_bytes), parse(&image.config_bytes));
    let (past_manifest, past_config) = past.documents.clone();
    without_commit(manifest, "/annotations") == without_commit(past_manifest, "/annotations")
        && without_commit(config, "/config/Labels") == without_commit(past_config, "/config/Labels")
}

fn without_commit(mut document: Value, place: &str) -> Value {
    if let Some(said) = document.pointer_mut(place).and_then(Value::as_object_mut) {
        said.remove("org.opencontainers.image.revision");
    }
    // The name of the configuration changes with the commit in it; it is compared itself.
    if let Some(document) = document.as_object_mut().filter(|document| document.contains_key("layers")) {
        document.remove("config");
    }
    document
}
