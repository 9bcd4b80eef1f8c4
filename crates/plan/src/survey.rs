//! One environment: the build's stages up to the layers, and the rest of them where no layer has to be made.

use pixi_oci_fetch::ArchiveCache;
use pixi_oci_image::Index;
use pixi_oci_layer::Digest;
use pixi_oci_lock::{LockedPackage, LockedPlatform, requirements};
use pixi_oci_platform::cannot;

use crate::Error;
use crate::{
    blobs::PlannedBlobs,
    build::output::Output,
    changes::{Present, base_layers, changes},
    download::downloads,
    found::Seen,
    layers::from_lock,
    past::Past,
    report::Reason,
    report::{AgainstImage, EnvironmentPlan, Plan, Unpredicted},
    seen::{Look, without_wheel},
};
use pixi_oci_pipeline::{Base, Remote, Stock, Workshop};
use pixi_oci_project::{Need, OUTPUTS, Project, Session, Target, needs, platform};
use pixi_oci_sources::{Decided, SourceError, SourceWheels, decide};

pub struct Survey<'a> {
    pub project: &'a Project,
    /// Whether platforms without images are shown, too.
    pub all: bool,
    /// Whether the base image is asked for, and fetched, as a build does it. Else what is on this machine counts.
    pub asks_for_base: bool,
    /// Whether servers are asked for what is in packages of which nothing is known.
    pub asks_channels: bool,
    pub remote: Option<&'a dyn Remote>,
    pub past: Option<&'a Past>,
    pub session: &'a Session,
}

/// A target and what was found out about it.
struct Surveyed<'a> {
    target: &'a Target,
    wheels: SourceWheels,
    seen: Seen,
}

/// Plans an environment, and gives the blobs of its images.
pub fn survey(survey: &Survey<'_>) -> Result<(EnvironmentPlan, PlannedBlobs), Error> {
    let Survey { project, session, .. } = *survey;
    let mut unpredicted = Vec::new();
    // A plan makes no cache: where there is none, nothing is known, and there is room beside it for wheels of the
    // workspace's own packages.
    let has_cache = survey.remote.is_some() || session.caches.dir.exists();
    let beside = if has_cache { None } else { Some(temporary()?) };
    let room = beside.as_ref().map_or(&*session.caches.dir, |directory| directory.path());
    let output = Output::scratch_in(room)?;
    let archives = if has_cache { Some(session.archives()?) } else { None };
    let _held = archives.as_ref().map(ArchiveCache::hold);
    // Without the network nothing can be fetched by mistake, but for a base image that is asked for. A build repeats the
    // events.
    let quiet = session.quiet(session.offline || !survey.asks_for_base);
    // A plan leaves nothing behind.
    let named = !project.inputs.cache_from.is_empty();
    let stock = Stock { keeps_published: false, ..Stock::new(&quiet, survey.remote, named) };
    let workshop = Workshop {
        project,
        session: &quiet,
        stock: &stock,
        output: &project.workspace.root.join(OUTPUTS[0]),
        layout: &output.staging,
        scratch: output.scratch(),
        on_layer: &|_| (),
    };
    let sources = sources(&workshop, has_cache, &mut unpredicted)?;
    let mut found = Vec::new();
    for target in &project.targets {
        session.check()?;
        let wheels = sources.wheels(target);
        let seen = Look {
            workshop: &workshop,
            target,
            wheels,
            has_cache,
            asks_for_base: survey.asks_for_base,
            // The session that may ask; the other one is offline.
            channels: Some(session).filter(|session| survey.asks_channels && !session.offline),
        };
        let seen = seen.look(&mut unpredicted)?;
        found.push(Surveyed { target, wheels: wheels.clone(), seen });
    }
    let digest = if has_cache { index(&workshop, &found, &mut unpredicted)? } else { None };
    let download = downloads(archives.as_ref(), found.iter().map(|found| (found.target, &found.seen)))?;
    let mut blobs = PlannedBlobs { index: digest, ..PlannedBlobs::default() };
    for Surveyed { target, seen, .. } in &found {
        blobs.images.push((target.architecture, seen.image.as_ref().map(|(image, _)| image.manifest.digest)));
        let image = seen.image.as_ref().map(|(image, other)| (&image.config, other.as_slice()));
        if let Some((base, report)) = seen.base.as_ref().and_then(|base| Some((base, base.report()?))) {
            let layers = base.layers().iter().map(|layer| layer.descriptor.digest).collect();
            blobs.bases.push((report.reference, layers));
        }
        blobs.add(&seen.layers, seen.base.as_ref().map(base_layers).as_deref(), image);
    }
    let mut plans = Vec::new();
    for (platform, packages) in project.platforms(survey.all)? {
        let known = found.iter().position(|found| found.target.platform.name == platform.name);
        plans.push(plan(survey, &platform, &packages, known.map(|known| found.swap_remove(known)))?);
    }
    let plan = EnvironmentPlan {
        environment: project.configuration.environment.clone(),
        digest,
        against: survey.past.map(|past| AgainstImage { reference: past.reference.clone(), digest: past.digest }),
        download,
        platforms: plans,
        unpredicted,
        push: Vec::new(),
    };
    Ok((plan, blobs))
}

fn temporary() -> Result<tempfile::TempDir, Error> {
    Ok(tempfile::tempdir().map_err(cannot("make", "a temporary directory"))?)
}

/// The wheels of sources that need not be built.
fn sources(workshop: &Workshop<'_>, has_cache: bool, unpredicted: &mut Vec<Unpredicted>) -> Result<Decided, Error> {
    let is_archive = |package: &LockedPackage| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_));
    if !has_cache && workshop.project.targets.iter().flat_map(|target| &target.packages).all(is_archive) {
        return Ok(Decided::default());
    }
    match decide(workshop.project, workshop.scratch).map_err(Error::from) {
        Ok(decided) => {
            if !decided.pending.is_empty() {
                let names: Vec<&str> = decided.pending.iter().map(|pending| pending.name.as_str()).collect();
                let message = format!("wheels have to be built first: {}", names.join(", "));
                unpredicted.push(Unpredicted { reason: Reason::Sources, message });
            }
            Ok(decided)
        }
        Err(Error::Source(error)) => {
            let is_undecided = matches!(*error, SourceError::Undecided { .. });
            let reason = if is_undecided { Reason::Sources } else { Reason::BuildFails };
            unpredicted.push(Unpredicted { reason, message: error.to_string() });
            Ok(Decided::default())
        }
        Err(error) => Err(error),
    }
}
/// The digest of the image index, if every image is known.
fn index(
    workshop: &Workshop<'_>,
    found: &[Surveyed<'_>],
    unpredicted: &mut Vec<Unpredicted>,
) -> Result<Option<Digest>, Error> {
    if found.is_empty() {
        let message =
            format!("no image can be made for the platforms of `{}`", workshop.project.configuration.environment);
        unpredicted.push(Unpredicted { reason: Reason::NoImage, message });
    }
    if let Some(pair) = found.windows(2).find(|pair| pair[0].target.architecture == pair[1].target.architecture) {
        let (first, second) = (&pair[0].target.platform.name, &pair[1].target.platform.name);
        let message = format!(
            "{first} and {second} are both for {}, and an index holds one image an architecture; choose with --platform",
            pair[0].target.architecture
        );
        unpredicted.push(Unpredicted { reason: Reason::SeveralOfOneArchitecture, message });
    }
    if !unpredicted.is_empty() {
        return Ok(None);
    }
    let images = found.iter().filter_map(|found| Some(found.seen.image.as_ref()?.0.clone()));
    Ok(Some(Index::new(images.collect(), &workshop.annotations()?)?.descriptor.digest))
}

fn plan(
    survey: &Survey<'_>,
    platform: &LockedPlatform,
    packages: &[LockedPackage],
    found: Option<Surveyed<'_>>,
) -> Result<Plan, Error> {
    let needs = needs(&requirements(packages));
    let (wheels, seen) = match found {
        Some(found) => (found.wheels, found.seen),
        // No image can be made for it, so the contents of its packages do not matter.
        None => (SourceWheels::new(), Seen { layers: from_lock(survey.project, packages)?, ..Seen::default() }),
    };
    let oci_platform = platform::architecture(platform.subdir).map(|architecture| format!("linux/{architecture}"));
    let other_layers = seen.image.as_ref().map(|(_, layers)| layers.clone()).unwrap_or_default();
    let changes = survey.past.map(|past| {
        let past = past.images.iter().find(|image| Some(&image.platform) == oci_platform.as_ref());
        let base = seen.base.as_ref().map(base_layers);
        let image = seen.image.as_ref().map(|(image, _)| image);
        changes(&Present { image, layers: &seen.layers, other: &other_layers, base }, past)
    });
    let in_layers = || seen.layers.iter().flat_map(|layer| &layer.packages);
    Ok(Plan {
        platform: platform.name.clone(),
        subdir: platform.subdir.to_string(),
        oci_platform,
        manifest: seen.image.as_ref().map(|(image, _)| image.manifest.digest),
        base: seen.base.as_ref().and_then(Base::report),
        packages: packages.len(),
        bytes: seen.layers.iter().map(|layer| layer.bytes).sum(),
        unknown_sizes: in_layers()
            .filter(|package| package.size.is_none())
            .map(|package| package.name.clone())
            .collect(),
        unknown_packages: seen.unknown,
        unverified_packages: seen.unverified,
        sources: without_wheel(packages, &wheels).collect(),
        requires: needs.iter().map(Need::text).collect(),
        needs,
        other_layers,
        layers: seen.layers,
        changes,
    })
}
