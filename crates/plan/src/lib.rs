//! What a build does, as a value: which layers there are, which of them exist already, what would be downloaded, and the
//! digest, where it follows from what is known. No package is downloaded for it. [`build`] executes it.

mod blobs;
mod build;
mod changes;
mod download;
mod error;
mod found;
mod layers;
mod past;
mod report;
mod seen;
mod shards;
mod since;
mod size;
mod survey;
mod text;

use pixi_oci_image::Architecture;
use pixi_oci_pipeline::Remote;
use pixi_oci_project::{Project, Session};

use self::survey::{Survey, survey};
pub use self::{
    blobs::{DestinationPlan, PlannedBlobs},
    build::installation::Installation,
    build::source_environments::build_sources,
    build::{Staged, build, cache_from, sif_runs, stage},
    changes::{ChangedPackage, Changes},
    error::{Error, PlanError},
    past::PastRef,
    report::layer::{LayerState, LikelyLayer, OtherLayer, PackagePlan, PlannedLayerReport},
    report::matrix,
    report::{AgainstImage, DownloadPlan, EnvironmentPlan, Plan, Reason, Unpredicted},
    shards::{MadeLayer, MadeShard, Shard, ShardedProject, Share, make_shard, shards},
    since::unchanged_platforms,
    size::size,
    text::text,
};

#[derive(Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// Platforms without images, too.
    pub all: bool,
    pub against: Option<&'a PastRef>,
}

/// The plans of environments of a workspace, with the blobs of their images. Layers may be taken from `remote`.
///
/// # Errors
///
/// The lock file lacks a platform; a registry refuses. What would make a build fail later is in the plan, as the reason why
/// there is no digest.
pub fn plan(
    projects: &[Project],
    options: PlanOptions<'_>,
    remote: Option<&dyn Remote>,
    session: &Session,
) -> Result<Vec<(EnvironmentPlan, PlannedBlobs)>, Error> {
    let past = options.against.map(|against| past::read_past(against, session)).transpose()?;
    let past = past.as_ref();
    let survey_one = |project| {
        survey(&Survey { project, all: options.all, asks_for_base: false, asks_channels: true, remote, past, session })
    };
    projects.iter().map(survey_one).collect()
}

/// What a build gives, as far as it follows from what this machine and `remote` know. No package is fetched; the base image is
/// only if it is asked for.
pub fn preview(
    project: &Project,
    remote: Option<&dyn Remote>,
    asks_for_base: bool,
    session: &Session,
) -> Result<EnvironmentPlan, Error> {
    let asks_channels = remote.is_some();
    let survey = survey(&Survey { project, all: false, asks_for_base, asks_channels, remote, past: None, session });
    survey.map(|(plan, _)| plan)
}

/// The published images that a plan takes layers from, if any are named.
pub fn planned_cache_from(project: &Project, session: &Session) -> Result<Option<pixi_oci_pipeline::Published>, Error> {
    if !session.offline {
        return cache_from(project, session);
    }
    if !project.inputs.cache_from.is_empty() {
        session.warn("no registry is asked offline; --cache-from is left out");
    }
    Ok(None)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImage {
    pub environment: String,
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
