//! What a build would do, without doing it: which layers there are, which of them are there already, what would be
//! downloaded and sent, and the digest, where it follows from what is known. No package is downloaded.
//!
//! It is the build's own code up to the point where layers are made, and from there where none has to be made.

mod changes;
mod download;
mod error;
mod layers;
mod likely;
mod past;
mod push;
mod report;
mod seen;
mod since;
mod survey;

use pixi_oci_image::Architecture;

pub use self::report::{
    AgainstImage, DownloadPlan, EnvironmentPlan, LayerState, LikelyLayer, OtherLayer, PackagePlan, Plan,
    PlannedLayerReport, Reason, Unpredicted,
};
pub use self::{
    changes::{ChangedPackage, Changes},
    error::PlanError,
    past::PastRef,
    push::DestinationPlan,
    since::{PublishedRef, images_since},
};
use self::{
    past::{Past, PastOptions, read_past},
    survey::{Survey, survey},
};
use crate::{
    Error, Project, Session,
    build::cache_from,
    publication::{PublishRequest, Wanted, preflight},
    stock::Remote,
};

/// What a plan is asked to show.
#[derive(Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// Platforms without images, too.
    pub all: bool,
    /// The publication whose repositories are asked what they have: a dry run of the same build. Layers are then taken as it
    /// takes them.
    pub push: Option<&'a PublishRequest>,
    /// An image that the plan is compared with.
    pub against: Option<&'a PastRef>,
}

/// The plans of environments of a workspace.
///
/// # Errors
///
/// The lock file lacks a platform; a registry refuses. What would make a build fail later is in the plan, as the reason why
/// there is no digest.
pub fn plan(projects: &[Project], options: PlanOptions<'_>, session: &Session) -> Result<Vec<EnvironmentPlan>, Error> {
    let Some(first) = projects.first() else { return Ok(Vec::new()) };
    let (mut preflight, published) = match options.push {
        Some(push) => {
            let (asked, published) =
                preflight(push, first, session).map_err(|error| PlanError::Publish(Box::new(error)))?;
            (Some(asked), published)
        }
        None if session.offline => (None, None),
        None => (None, cache_from(first, session)?),
    };
    if session.offline && !first.inputs.cache_from.is_empty() {
        session.warn("no registry is asked offline; --cache-from is left out");
    }
    let remote = published.as_ref().map(|remote| remote as &dyn Remote);
    let past = options.against.map(|against| past(against, session)).transpose()?;
    let mut plans = Vec::new();
    for project in projects {
        let all = options.all;
        let (mut plan, blobs) =
            survey(&Survey { project, all, asks_for_base: false, remote, past: past.as_ref(), session })?;
        if let Some(asked) = &mut preflight {
            let wanted = Wanted { blobs: &blobs.known(), images: blobs.images(), index: blobs.index() };
            let stock = asked.stock(&wanted)?;
            plan.push = stock.into_iter().map(|stock| blobs.push(stock, published.as_ref())).collect();
        }
        plans.push(plan);
    }
    Ok(plans)
}

fn past(against: &PastRef, session: &Session) -> Result<Past, Error> {
    let scratch = session.caches.dir.join("previous");
    // A layout is read where it is.
    if matches!(against, PastRef::Registry(_)) && !session.offline {
        fs_err::create_dir_all(&scratch).map_err(|source| Error::Io {
            action: "create",
            path: scratch.clone(),
            source,
        })?;
    }
    read_past(against, &PastOptions { session, scratch: &scratch })
}

/// An image that a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImage {
    /// The environment.
    pub environment: String,
    /// The architecture.
    pub architecture: Architecture,
}

/// The images of environments, each once, from the lock file alone.
pub fn planned_images(projects: &[Project]) -> Vec<PlannedImage> {
    let images = projects.iter().flat_map(|project| {
        let environment = &project.configuration.environment;
        let image = |architecture| PlannedImage { environment: environment.clone(), architecture };
        project.targets.iter().map(move |target| image(target.architecture))
    });
    let mut images: Vec<PlannedImage> = images.collect();
    images.dedup();
    images
}
