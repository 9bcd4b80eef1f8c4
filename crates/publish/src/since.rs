//! Which images of a workspace are others than what is published.

use std::str::FromStr;

use pixi_oci_layer::Digest;
use pixi_oci_plan::{Error, PlanError, PlannedImage, unchanged_platforms};
use pixi_oci_registry::RepositoryRef;

use crate::request::settings::{first_repository, tag_suffix};
use pixi_oci_project::{Project, Session};

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
pub fn images_since(projects: &[Project], since: &PublishedRef, session: &Session) -> Result<Vec<PlannedImage>, Error> {
    let mut images = Vec::new();
    for project in projects {
        let reference = reference(since, project)?;
        let is_same = unchanged_platforms(project, &reference, session)?;
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
