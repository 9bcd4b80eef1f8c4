//! Which platforms of an environment have the images that are published.

use pixi_oci_pipeline::{Believed, Remote, in_one_line};
use pixi_oci_project::{Project, Session};
use pixi_oci_registry::{ErrorKind, RepositoryRef};

use crate::{
    Error,
    build::cache_from,
    error::PlanError,
    past::{Past, PastRef, read_past},
    report::{EnvironmentPlan, Reason},
    survey::{Survey, survey},
};

/// The platforms whose images are what is published.
pub fn unchanged_platforms(
    project: &Project,
    reference: &RepositoryRef,
    session: &Session,
) -> Result<Vec<String>, Error> {
    let environment = &project.configuration.environment;
    let doubt = |why: &str| {
        session.warn(format!("{environment}: cannot be compared with {reference}, so it counts as changed: {why}"));
    };
    let past = match read_past(&PastRef::Registry(reference.clone()), session) {
        Ok(past) => past,
        // Nothing was published yet.
        Err(Error::Plan(PlanError::Registry { source, .. })) if source.kind() == ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => {
            doubt(&in_one_line(&error));
            return Ok(Vec::new());
        }
    };
    // What is known of its packages and layers is what makes a comparison possible on a machine that has nothing.
    let project = project.with_cache_from(reference);
    let remote = cache_from(&project, session)?;
    // A publication that finds the image there asks for none of its layers either.
    let remote = remote.as_ref().map(Believed);
    let remote = remote.as_ref().map(|remote| remote as &dyn Remote);
    let (plan, _) = survey(&Survey {
        project: &project,
        all: false,
        asks_for_base: true,
        asks_channels: true,
        remote,
        past: Some(&past),
        session,
    })?;
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
