//! One environment: the build's stages up to the layers, and the rest of them where no layer has to be made.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use pixi_oci_fetch::ArchiveCache;
use pixi_oci_image::Index;
use pixi_oci_layer::Digest;
use pixi_oci_lock::{LockedPackage, LockedPlatform, requirements};
use pixi_oci_net::Client;
use pixi_oci_workspace::Workspace;

use super::{
    AgainstImage, DownloadPlan, EnvironmentPlan, Plan, Unpredicted,
    changes::{Present, base_layers, changes},
    download::Downloads,
    locked,
    past::Past,
    push::Blobs,
    report::Reason,
    seen::{Here, Seen, look, unseen, without_wheel},
};
use crate::{
    BuildRequest, Error, SourceWheel,
    base::Base,
    cache::{FactsCache, LayerCache},
    configuration::Configuration,
    image::ImageBuilder,
    needs::{Need, needs},
    output::Output,
    platform,
    reuse::{Knowledge, Remote, known},
    sources::{SourceError, SourcesInput, decide},
    target::Target,
};

/// What is looked at.
pub struct Survey<'a> {
    /// What would be built.
    pub request: &'a BuildRequest,
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The configuration of the environment.
    pub configuration: &'a Configuration,
    /// The platforms that are shown.
    pub platforms: &'a [(LockedPlatform, Vec<LockedPackage>)],
    /// Those of them that images can be made for.
    pub targets: &'a [Target],
    /// Whether the base image is asked for, and fetched, as a build does it. Else what is on this machine counts.
    pub asks_for_base: bool,
    /// Never used for packages.
    pub client: &'a Client,
    /// The layers of published images.
    pub remote: Option<&'a dyn Remote>,
    /// What is compared with.
    pub past: Option<&'a Past>,
}

/// Wheels that stand for sources, by target.
type SourceWheels = Vec<BTreeMap<String, SourceWheel>>;

/// Plans an environment, and gives the blobs of its images.
pub fn survey(survey: &Survey<'_>) -> Result<(EnvironmentPlan, Blobs), Error> {
    let Survey { request, configuration, targets, .. } = *survey;
    let mut unpredicted = Vec::new();
    let nothing = BTreeMap::new();
    // A plan makes no cache: where there is none, nothing is known.
    let found = if survey.remote.is_some() || request.cache_dir.exists() {
        with_cache(survey, &mut unpredicted)?
    } else {
        let sources = without_cache(survey, &mut unpredicted)?;
        let mut seen = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            seen.push(unseen(configuration, target, sources.get(index).unwrap_or(&nothing), &mut unpredicted)?);
        }
        let mut found = Found { seen, sources, digest: None, download: DownloadPlan::default() };
        found.download = downloads(None, targets, &found.seen)?;
        found
    };
    let Found { seen, sources, digest, download } = found;
    let mut blobs = Blobs::default();
    blobs.set_index(digest);
    for (target, seen) in targets.iter().zip(&seen) {
        blobs.add_image(target.architecture, seen.image.as_ref().map(|(image, _)| image.manifest.digest));
        let image = seen.image.as_ref().map(|(image, other)| (&image.config, other.as_slice()));
        blobs.add(&seen.layers, seen.base.as_ref().map(base_layers).as_deref(), image);
    }
    let mut seen: BTreeMap<&str, Seen> = targets.iter().map(|target| target.platform.name.as_str()).zip(seen).collect();
    let plans = survey.platforms.iter().map(|(platform, packages)| {
        let index = targets.iter().position(|target| target.platform.name == platform.name);
        let wheels = index.and_then(|index| sources.get(index)).unwrap_or(&nothing);
        plan(survey, platform, packages, wheels, seen.remove(platform.name.as_str()))
    });
    let plan = EnvironmentPlan {
        environment: configuration.environment.clone(),
        digest,
        against: survey.past.map(|past| AgainstImage { reference: past.reference.clone(), digest: past.digest }),
        download,
        platforms: plans.collect::<Result<_, _>>()?,
        unpredicted,
        push: Vec::new(),
    };
    Ok((plan, blobs))
}

/// What came of it, in the order of the targets.
struct Found {
    seen: Vec<Seen>,
    sources: SourceWheels,
    digest: Option<Digest>,
    download: DownloadPlan,
}

/// Looks at all targets as a build does.
fn with_cache(survey: &Survey<'_>, unpredicted: &mut Vec<Unpredicted>) -> Result<Found, Error> {
    let Survey { request, configuration, targets, .. } = *survey;
    let output = Output::scratch_in(&request.cache_dir)?;
    let sources = sources(survey, &output, unpredicted)?;
    let archives = ArchiveCache::open(&request.cache_dir)?;
    let _held = archives.hold();
    let facts = FactsCache::open(&request.cache_dir);
    // A plan leaves nothing behind.
    let knowledge = Knowledge { keeps: false, ..Knowledge::new(request, &facts) };
    let known = known(targets, &knowledge, survey.remote, &configuration.workdir)?;
    let layer_cache = (request.layer_cache > 0).then(|| LayerCache::open(&request.cache_dir, request.layer_cache));
    // Without the network nothing can be fetched by mistake; a base image is the one thing that may be.
    let request = BuildRequest { offline: request.offline || !survey.asks_for_base, ..request.clone() };
    let builder = ImageBuilder {
        request: &request,
        workspace: survey.workspace,
        configuration,
        output: &survey.workspace.root.join("dist/oci"),
        layout: output.staging(),
        scratch: output.scratch(),
        client: survey.client,
        layer_cache: layer_cache.as_ref(),
        remote: survey.remote,
        on_layer: &|_, _| (),
        // A build says again what there is to say.
        on_event: &|_| (),
    };
    let mut seen = Vec::new();
    let nothing = BTreeMap::new();
    for ((index, target), known) in targets.iter().enumerate().zip(known) {
        if request.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let wheels = sources.get(index).unwrap_or(&nothing);
        let here = Here::find(target, known, wheels, &archives)?;
        seen.push(look(&builder, target, here, wheels, survey.asks_for_base, unpredicted)?);
    }
    let digest = index(&builder, targets, &seen, unpredicted)?;
    let download = downloads(Some(&archives), targets, &seen)?;
    Ok(Found { seen, sources, digest, download })
}

fn downloads(cache: Option<&ArchiveCache>, targets: &[Target], seen: &[Seen]) -> Result<DownloadPlan, Error> {
    let mut downloads = Downloads::new(cache);
    for (target, seen) in targets.iter().zip(seen) {
        downloads.add(&target.packages, &seen.layers, &seen.unknown)?;
    }
    Ok(downloads.plan())
}

/// Sources can be decided about all the same, with room beside the cache's place for wheels of the workspace's own packages.
fn without_cache(survey: &Survey<'_>, unpredicted: &mut Vec<Unpredicted>) -> Result<SourceWheels, Error> {
    let has_archive = |package: &LockedPackage| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_));
    if survey.targets.iter().flat_map(|target| &target.packages).all(has_archive) {
        return Ok(Vec::new());
    }
    let cache = &survey.request.cache_dir;
    let above = cache.ancestors().find(|above| above.is_dir()).unwrap_or(cache);
    sources(survey, &Output::scratch_in(above)?, unpredicted)
}

/// The wheels of sources that need not be built.
fn sources(survey: &Survey<'_>, output: &Output, unpredicted: &mut Vec<Unpredicted>) -> Result<SourceWheels, Error> {
    let decided = decide(&SourcesInput {
        request: survey.request,
        workspace: survey.workspace,
        configuration: survey.configuration,
        targets: survey.targets,
        scratch: output.scratch(),
    });
    match decided.map_err(Error::from) {
        Ok(decided) => {
            if !decided.pending.is_empty() {
                let names: Vec<&str> = decided.pending.iter().map(|pending| pending.name.as_str()).collect();
                let message = format!("wheels have to be built first: {}", names.join(", "));
                unpredicted.push(Unpredicted { reason: Reason::Sources, message });
            }
            Ok(decided.wheels)
        }
        Err(Error::Source(error)) => {
            let is_undecided = matches!(*error, SourceError::Undecided { .. });
            let reason = if is_undecided { Reason::Sources } else { Reason::BuildFails };
            unpredicted.push(Unpredicted { reason, message: error.to_string() });
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The digest of the image index, if every image is known.
fn index(
    builder: &ImageBuilder<'_>,
    targets: &[Target],
    seen: &[Seen],
    unpredicted: &mut Vec<Unpredicted>,
) -> Result<Option<Digest>, Error> {
    if targets.is_empty() {
        let message = format!("no image can be made for the platforms of `{}`", builder.configuration.environment);
        unpredicted.push(Unpredicted { reason: Reason::NoImage, message });
    }
    if let Some(pair) = targets.windows(2).find(|pair| pair[0].architecture == pair[1].architecture) {
        let (first, second) = (&pair[0].platform.name, &pair[1].platform.name);
        let message = format!(
            "{first} and {second} are both for {}, and an index holds one image an architecture; choose with --platform",
            pair[0].architecture
        );
        unpredicted.push(Unpredicted { reason: Reason::SeveralOfOneArchitecture, message });
    }
    if !unpredicted.is_empty() {
        return Ok(None);
    }
    let images = seen.iter().filter_map(|seen| Some(seen.image.as_ref()?.0.clone()));
    Ok(Some(Index::new(images.collect(), &builder.annotations()?)?.descriptor.digest))
}

/// What is said of a platform.
fn plan(
    survey: &Survey<'_>,
    platform: &LockedPlatform,
    packages: &[LockedPackage],
    wheels: &BTreeMap<String, SourceWheel>,
    seen: Option<Seen>,
) -> Result<Plan, Error> {
    let needs = needs(&requirements(packages));
    let seen = match seen {
        Some(seen) => seen,
        // No image can be made for it, so nobody asks what is in its packages.
        None => Seen {
            layers: locked::layers(survey.configuration, packages)?,
            unknown: Vec::new(),
            base: None,
            image: None,
        },
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
        sources: without_wheel(packages, wheels).collect(),
        requires: needs.iter().map(Need::text).collect(),
        needs,
        other_layers,
        layers: seen.layers,
        changes,
    })
}
