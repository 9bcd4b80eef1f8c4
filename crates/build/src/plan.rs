//! What a build would do, without doing it: which layers there are, which of them are there already, what would be
//! downloaded and sent, and the digest, where it follows from what is known. No package is downloaded.
//!
//! It is the build's own code up to the point where layers are made, and from there where none has to be made.

mod changes;
mod download;
mod error;
mod likely;
mod locked;
mod past;
mod push;
mod report;
mod seen;
mod since;
mod survey;

use pixi_oci_image::Architecture;
use pixi_oci_lock::{LockFile, LockedPackage, LockedPlatform};
use pixi_oci_net::Client;
use pixi_oci_workspace::Workspace;

pub use self::report::{
    AgainstImage, DownloadPlan, EnvironmentPlan, LayerPlan, LayerState, LikelyLayer, OtherLayer, PackagePlan, Plan,
    Reason, Unpredicted,
};
pub use self::{
    changes::{ChangedPackage, Changes},
    error::PlanError,
    past::PastRef,
    push::DestinationPlan,
    since::{Published, images_since},
};
use self::{
    past::{Past, PastMeans, read_past},
    survey::{Survey, survey},
};
use crate::{
    BuildRequest, Error, Event, OnEvent,
    build::cache_from,
    configuration::{Configuration, configuration},
    locked::{check, checked},
    publication::{PublishRequest, Wanted, ask},
    reuse::Remote,
    target::{Target, assumed, target, targets},
};

/// Which plans are wanted.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// As for a build; architectures and platforms empty mean all.
    pub build: BuildRequest,
    /// All environments of the lock file instead of one.
    pub all_environments: bool,
    /// The publication whose repositories are asked what they have: a dry run of the same build. Layers are then taken as it
    /// takes them.
    pub push: Option<PublishRequest>,
    /// An image that the plan is compared with.
    pub against: Option<PastRef>,
    /// Whether the base image is asked for, and fetched, as a build does it; else only what is on this machine counts.
    pub asks_for_base: bool,
}

/// The plans of a workspace, sorted by environment.
///
/// # Errors
///
/// Workspace or lock file cannot be read; an environment or platform that is not there. What would make a build fail later
/// is in the plan, as the reason why there is no digest.
pub fn plan(request: &PlanRequest, client: &Client, on_event: OnEvent<'_>) -> Result<Vec<EnvironmentPlan>, Error> {
    let workspace = Workspace::open(&request.build.workspace)?;
    let lock = crate::lock::lock_file(&workspace, &request.build, client, on_event)?;
    let (mut asked, published) = match &request.push {
        Some(push) => {
            let (asked, published) = ask(push, on_event).map_err(|error| PlanError::Publish(Box::new(error)))?;
            (Some(asked), published)
        }
        None if request.build.offline => (None, None),
        None => (None, cache_from(&request.build, on_event)?),
    };
    if request.build.offline && !request.build.cache_from.is_empty() {
        on_event(Event::Warning("no registry is asked offline; --cache-from is left out".into()));
    }
    let remote = published.as_ref().map(|remote| remote as &dyn Remote);
    let past = request.against.as_ref().map(|against| past(against, &request.build)).transpose()?;
    let mut plans = Vec::new();
    for chosen in chosen(request, &workspace, &lock)? {
        let (mut plan, blobs) = survey(&Survey {
            request: &chosen.request,
            workspace: &workspace,
            configuration: &chosen.configuration,
            platforms: &chosen.platforms,
            targets: &chosen.targets,
            asks_for_base: request.asks_for_base,
            client,
            remote,
            past: past.as_ref(),
        })?;
        if let Some(asked) = &mut asked {
            let wanted = Wanted { blobs: &blobs.known(), images: blobs.images(), index: blobs.index() };
            let stock = asked.stock(&wanted)?;
            plan.push = stock.into_iter().map(|stock| blobs.push(stock, published.as_ref())).collect();
        }
        plans.push(plan);
    }
    Ok(plans)
}

fn past(against: &PastRef, request: &BuildRequest) -> Result<Past, Error> {
    let scratch = request.cache_dir.join("previous");
    // A layout is read where it is.
    if matches!(against, PastRef::Registry(_)) && !request.offline {
        fs_err::create_dir_all(&scratch).map_err(|source| Error::Io {
            action: "create",
            path: scratch.clone(),
            source,
        })?;
    }
    let (registries, interrupted) = (&request.registries, &*request.interrupted);
    read_past(against, &PastMeans { offline: request.offline, registries, scratch: &scratch, interrupted })
}

/// An image that a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImage {
    /// The environment.
    pub environment: String,
    /// The architecture.
    pub architecture: Architecture,
}

/// The images of a workspace, each once, from the lock file alone.
///
/// # Errors
///
/// As [`plan`].
pub fn planned_images(
    request: &PlanRequest,
    client: &Client,
    on_event: OnEvent<'_>,
) -> Result<Vec<PlannedImage>, Error> {
    let workspace = Workspace::open(&request.build.workspace)?;
    let lock = crate::lock::lock_file(&workspace, &request.build, client, on_event)?;
    let mut images: Vec<PlannedImage> = Vec::new();
    for chosen in chosen(request, &workspace, &lock)? {
        let environment = &chosen.configuration.environment;
        images.extend(
            chosen
                .targets
                .iter()
                .map(|target| PlannedImage { environment: environment.clone(), architecture: target.architecture }),
        );
    }
    images.dedup();
    Ok(images)
}

fn chosen(request: &PlanRequest, workspace: &Workspace, lock: &LockFile) -> Result<Vec<Chosen>, Error> {
    if request.all_environments {
        all(request, workspace, lock)
    } else {
        Ok(vec![one(&request.build, workspace, lock)?])
    }
}

/// An environment that is planned.
struct Chosen {
    request: BuildRequest,
    configuration: Configuration,
    /// The platforms that are shown, and of them those that images can be made for.
    platforms: Vec<(LockedPlatform, Vec<LockedPackage>)>,
    targets: Vec<Target>,
}

/// What a build would choose.
fn one(request: &BuildRequest, workspace: &Workspace, lock: &LockFile) -> Result<Chosen, Error> {
    let configuration = configuration(request, workspace)?;
    let choose = || targets(request, workspace, lock, &configuration);
    let targets = checked(request, workspace, lock, &configuration, choose)?;
    let platforms = targets.iter().map(|target| (target.platform.clone(), target.packages.clone())).collect();
    Ok(Chosen { request: request.clone(), configuration, platforms, targets })
}

/// Every environment on every platform that it is locked for.
fn all(request: &PlanRequest, workspace: &Workspace, lock: &LockFile) -> Result<Vec<Chosen>, Error> {
    let chosen = lock.environments().into_iter().map(|environment| {
        let own = BuildRequest { environment: Some(environment.clone()), ..request.build.clone() };
        let configuration = configuration(&own, workspace)?;
        let platforms = lock.platforms(&environment)?;
        if workspace.environments.contains_key(&environment) {
            check(&own, workspace, lock, &configuration, &platforms)?;
        }
        let said = assumed(&own, workspace, &configuration)?;
        let targets = platforms.iter().filter_map(|platform| target(lock, &environment, platform, &said).transpose());
        let mut targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
        targets.sort_by_key(|target| target.architecture);
        let packages = |platform: LockedPlatform| Ok((platform.clone(), lock.packages(&environment, &platform)?));
        let platforms = platforms.into_iter().map(packages).collect::<Result<_, Error>>()?;
        Ok(Chosen { request: own, configuration, platforms, targets })
    });
    chosen.collect()
}
