//! A release's tag that names something else: found before the first package is fetched.
//!
//! What is there says whether the new image can be it: the table of an image of ours has every conda package, its manifest the
//! key of every layer, and from its layers the documents follow. Nothing of it is believed for more than a refusal. What cannot
//! be told is found out by the build.

use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;
use pixi_oci_pipeline::{Believed, Previous, Remote};
use pixi_oci_plan::{EnvironmentPlan, Reason, Unpredicted, preview};
use pixi_oci_project::{Project, Session};
use pixi_oci_registry::{Error, Repository};

use crate::{
    baseline::{read_only, repository},
    destination::Connection,
    error::PublishError,
    request::{PublishRequest, PublishSource, Publishing},
    tags::{PlannedTag, TagPlan, TagTarget},
};

/// Whether a base image that is not here is fetched to find it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingBase {
    /// A build needs it anyway.
    Fetch,
    /// Then less is known.
    Leave,
}

/// Why the repository would refuse the build of `project` under the tags of `plan`, as far as that is known.
pub fn refusal(
    run: &Publishing<'_>,
    project: &Project,
    plan: &TagPlan,
    to: &Repository,
    open: &Connection,
    base: MissingBase,
) -> Result<Option<Error>, PublishError> {
    let Publishing { request, session, .. } = run;
    let Some(taken) = taken(request, plan, &open.known.tags) else { return Ok(None) };
    // Who cannot be asked now is asked again when the image is there.
    let Ok(Some(present)) = session.run(open.registry.head_manifest(&taken.tag))? else { return Ok(None) };
    let refuse = |wanted: String| Ok(Some(Error::tag_exists(format!("{to}:{}", taken.tag), present.digest, wanted)));
    let target = match taken.target {
        TagTarget::Index => request.root(&project.targets.iter().map(|target| target.architecture).collect::<Vec<_>>()),
        target => target,
    };
    // A machine that has built it needs to read nothing.
    let here = previewed(project, None, base, session)?;
    if let Some(digest) = here.and_then(|preview| digest(&preview, target)) {
        return if digest == present.digest { Ok(None) } else { refuse(digest.to_string()) };
    }
    let published = read_only(repository(run, to, vec![present.digest.to_string()]), session);
    let image = Believed(&published);
    let previous = image.previous().map_err(pixi_oci_plan::Error::from)?;
    if previous.is_partial || previous.layers.is_empty() {
        return Ok(None);
    }
    if let Some(wanted) = other_packages(project, target, previous) {
        return refuse(wanted);
    }
    let Some(preview) = previewed(project, Some(&image), base, session)? else { return Ok(None) };
    if let Some(wanted) = other_layer(&preview, target, previous) {
        return refuse(wanted);
    }
    match digest(&preview, target).filter(|digest| *digest != present.digest) {
        Some(digest) => refuse(digest.to_string()),
        None => Ok(None),
    }
}

/// What a build gives, as far as it is known; `None` where it would fail, which it says itself.
fn previewed(
    project: &Project,
    image: Option<&dyn Remote>,
    base: MissingBase,
    session: &Session,
) -> Result<Option<EnvironmentPlan>, PublishError> {
    match preview(project, image, base == MissingBase::Fetch, session) {
        Err(pixi_oci_plan::Error::Interrupted) => Err(pixi_oci_plan::Error::Interrupted.into()),
        preview => Ok(preview.ok()),
    }
}

/// A tag that is there and must not change; that of the index before those of single images.
fn taken<'a>(request: &PublishRequest, plan: &'a TagPlan, existing: &[String]) -> Option<&'a PlannedTag> {
    let is_leg = request.source == PublishSource::Leg;
    let mut fixed: Vec<&PlannedTag> = plan.fixed(existing).collect();
    fixed.retain(|planned| !is_leg || planned.target != TagTarget::Index);
    fixed.iter().find(|planned| planned.target == TagTarget::Index).or(fixed.first()).copied()
}

/// Conda packages that the image does not have; that of one architecture has only its own.
fn other_packages(project: &Project, tagged: TagTarget, previous: &Previous) -> Option<String> {
    let tagged = project.targets.iter().filter(|target| match tagged {
        TagTarget::Index => true,
        TagTarget::Image(architecture) => target.architecture == architecture,
    });
    let conda = tagged.flat_map(|target| &target.packages).filter(|p| matches!(p, LockedPackage::Conda(_)));
    let has = |package: &LockedPackage| {
        package.sha256().is_none_or(|sha256| previous.conda.contains_key(&sha256.to_string()))
    };
    let mut others: Vec<String> = conda.filter(|package| !has(package)).map(LockedPackage::name).collect();
    others.sort();
    others.dedup();
    let more = match others.len() {
        0 => return None,
        1 => String::new(),
        more => format!(" and {} others", more - 1),
    };
    Some(format!("an image with the locked {}{more}, which it does not have", others[0]))
}

/// A layer that the image does not have; that of one architecture has only its own.
fn other_layer(preview: &EnvironmentPlan, tagged: TagTarget, previous: &Previous) -> Option<String> {
    // A base of many layers divides packages in another way.
    let base_is_open = |open: &Unpredicted| matches!(open.reason, Reason::BaseNotHere | Reason::BaseNotPinned);
    if preview.unpredicted.iter().any(base_is_open) {
        return None;
    }
    let tagged = preview.platforms.iter().filter(|platform| match tagged {
        TagTarget::Index => true,
        TagTarget::Image(architecture) => platform.oci_platform.as_ref() == Some(&format!("linux/{architecture}")),
    });
    let layers = tagged.flat_map(|platform| &platform.layers);
    let is_other = |key: &Option<String>| key.as_ref().is_some_and(|key| !previous.layers.contains_key(key));
    let other = layers.into_iter().find(|layer| is_other(&layer.key))?;
    let first = other.packages.first()?;
    Some(format!("an image in which the layer of {} is another one", first.name))
}

fn digest(preview: &EnvironmentPlan, target: TagTarget) -> Option<Digest> {
    match target {
        TagTarget::Index => preview.digest,
        TagTarget::Image(architecture) => {
            let platform = format!("linux/{architecture}");
            let of = preview.platforms.iter().find(|other| other.oci_platform.as_ref() == Some(&platform))?;
            of.manifest
        }
    }
}
