//! One target: as far as a build gets without fetching or making a package layer.

use std::collections::BTreeMap;

use pixi_oci_fetch::{ArchiveCache, CachedArchive, FetchItem};
use pixi_oci_image::Image;
use pixi_oci_lock::LockedPackage;
use pixi_oci_publish::base::BaseRef;

use super::{LayerPlan, LayerState, OtherLayer, PackagePlan, Unpredicted, likely::add_likely, locked, report::Reason};
use crate::{
    Error, LayerKind, LayerOrigin, LayerReport, SourceWheel,
    base::Base,
    cache::LayerRecord,
    configuration::Configuration,
    divided::Divided,
    image::ImageBuilder,
    layer_key::LayerKey,
    layers::PackageLayer,
    packages::{Contents, KnownPackage, with_archives},
    publication::in_one_line,
    target::Target,
};

/// One target, as far as it is known.
pub struct Seen {
    /// The package layers.
    pub layers: Vec<LayerPlan>,
    /// Packages of which nobody knows what is in them.
    pub unknown: Vec<String>,
    /// The base image, if it is here.
    pub base: Option<Base>,
    /// The image, if it is known, and its layers that are not of packages.
    pub image: Option<(Image, Vec<OtherLayer>)>,
}

/// What there is of a target's packages.
pub struct Here {
    /// Of each package that has an archive.
    pub known: Vec<Option<KnownPackage>>,
    /// Of those that are not known, in their order.
    pub archives: Vec<CachedArchive>,
    /// Those of which nothing is known.
    pub unknown: Vec<String>,
}

impl Here {
    /// Looks for what is known, and for archives that are here already.
    pub fn find(
        target: &Target,
        known: Vec<Option<KnownPackage>>,
        wheels: &BTreeMap<String, SourceWheel>,
        cache: &ArchiveCache,
    ) -> Result<Self, Error> {
        let mut here = Self { known, archives: Vec::new(), unknown: Vec::new() };
        for (package, known) in with_archives(&target.packages).zip(&here.known) {
            if known.is_some() {
                continue;
            }
            match FetchItem::for_package(package).map(|item| cache.lookup(&item)).transpose()?.flatten() {
                Some(archive) => here.archives.push(archive),
                None => here.unknown.push(package.name()),
            }
        }
        here.unknown.extend(without_wheel(&target.packages, wheels));
        Ok(here)
    }
}

/// The sources that no wheel stands for.
pub fn without_wheel<'a>(
    packages: &'a [LockedPackage],
    wheels: &'a BTreeMap<String, SourceWheel>,
) -> impl Iterator<Item = String> + 'a {
    let sources = packages
        .iter()
        .filter(|package| matches!(package, LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. }));
    sources.map(LockedPackage::name).filter(|name| !wheels.contains_key(name))
}

/// Goes as far with a target as a build can without fetching or making a package layer.
pub fn look(
    builder: &ImageBuilder<'_>,
    target: &Target,
    here: Here,
    wheels: &BTreeMap<String, SourceWheel>,
    asks_for_base: bool,
    unpredicted: &mut Vec<Unpredicted>,
) -> Result<Seen, Error> {
    let configuration = builder.configuration;
    let mut reasons = Vec::new();
    let base = base(builder, target, asks_for_base, &mut reasons)?;
    let mut seen = Seen { layers: Vec::new(), unknown: here.unknown.clone(), base, image: None };
    if seen.unknown.is_empty() {
        let contents =
            Contents::new(target, here.known, &mut here.archives.into_iter(), wheels, &configuration.workdir);
        match builder.divide(target, &contents, seen.base.as_ref()) {
            Ok(divided) => {
                let (layers, found) = layers(builder, &divided)?;
                seen.layers = layers;
                match (found, &seen.base, reasons.is_empty()) {
                    (Some(found), Some(base), true) => {
                        match builder.assembled(target, &contents, base, divided, found) {
                            Ok((image, report)) => seen.image = Some((image, other_layers(&report.layers))),
                            Err(error) => reasons.push(fails(error)?),
                        }
                    }
                    (None, ..) => {
                        let count = seen.layers.iter().filter(|layer| layer.state == LayerState::ToBuild).count();
                        let layers = if count == 1 { "a layer has".into() } else { format!("{count} layers have") };
                        let message = format!("{}: {layers} to be made", target.platform.name);
                        reasons.push(Unpredicted { reason: Reason::LayersToBuild, message });
                    }
                    _ => {}
                }
            }
            Err(error) => reasons.push(fails(error)?),
        }
    } else {
        reasons.push(unknown_packages(target, &seen.unknown));
        seen.layers = locked::layers(configuration, &target.packages)?;
        add_likely(builder, target, here, wheels, seen.base.as_ref(), &mut seen.layers)?;
    }
    if seen.layers.is_empty() {
        seen.layers = locked::layers(configuration, &target.packages)?;
    }
    // What is the same for all platforms is said once.
    reasons.into_iter().for_each(|reason| {
        if !unpredicted.contains(&reason) {
            unpredicted.push(reason)
        }
    });
    Ok(seen)
}

/// The base image, if it is here; and whether it is the one that a build will take.
fn base(
    builder: &ImageBuilder<'_>,
    target: &Target,
    asks: bool,
    reasons: &mut Vec<Unpredicted>,
) -> Result<Option<Base>, Error> {
    let name = &builder.configuration.base;
    let reference = BaseRef::parse(name)?;
    let moves = matches!(reference, BaseRef::Registry(_)) && !reference.is_pinned() && !asks;
    if moves {
        let message = format!("base image {name} is not pinned by its digest; `pixi-oci lock --base` pins it");
        reasons.push(Unpredicted { reason: Reason::BaseNotPinned, message });
    }
    match builder.base(target) {
        Ok(base) => Ok(Some(base)),
        Err(Error::Base(error)) if matches!(reference, BaseRef::Registry(_)) => {
            if !moves {
                let message = format!("base image {name} is not on this machine; build once ({error})");
                reasons.push(Unpredicted { reason: Reason::BaseNotHere, message });
            }
            Ok(None)
        }
        Err(error) => {
            reasons.push(fails(error)?);
            Ok(None)
        }
    }
}

/// What would make a build fail is no error of the plan's.
pub fn fails(error: Error) -> Result<Unpredicted, Error> {
    if matches!(error, Error::Interrupted | Error::Io { .. }) {
        return Err(error);
    }
    let message = format!("a build would fail: {}", in_one_line(&error));
    Ok(Unpredicted { reason: Reason::BuildFails, message })
}

/// What is known of the layers; and the layers, if all are known.
fn layers(
    builder: &ImageBuilder<'_>,
    divided: &Divided<'_>,
) -> Result<(Vec<LayerPlan>, Option<Vec<PackageLayer>>), Error> {
    let compression = builder.configuration.compression;
    let (mut plans, mut found) = (Vec::new(), Vec::new());
    let keys = builder.keys(divided);
    let states = states(builder, &keys)?;
    for ((group, key), (state, record)) in divided.groups.iter().zip(keys).zip(states) {
        let origin = if state == LayerState::Cached { LayerOrigin::Cache } else { LayerOrigin::Registry };
        found.extend(record.as_ref().map(|record| PackageLayer::known(record, key, compression, origin)));
        let packages = group.packages.iter().map(|&index| {
            let package = &divided.packages[index];
            // `NAME VERSION BUILD`
            let mut words = package.label.split(' ').skip(1).map(str::to_owned);
            PackagePlan {
                name: package.name.clone(),
                version: words.next().unwrap_or_default(),
                build: words.next(),
                size: Some(package.size),
                sha256: Some(package.sha256.to_string()),
            }
        });
        plans.push(LayerPlan {
            bytes: group.size,
            key: Some(key.to_string()),
            state,
            likely: None,
            digest: record.as_ref().map(|record| record.digest),
            size: record.as_ref().map(|record| record.size),
            packages: packages.collect(),
        });
    }
    let all = found.len() == plans.len();
    Ok((plans, all.then_some(found)))
}

/// Where each layer is: in the cache, else in a registry, all of which are asked for at once.
pub fn states(builder: &ImageBuilder<'_>, keys: &[LayerKey]) -> Result<Vec<(LayerState, Option<LayerRecord>)>, Error> {
    let cached = |key| builder.layer_cache.and_then(|cache| cache.find(key));
    let mut states: Vec<(LayerState, Option<LayerRecord>)> = keys
        .iter()
        .map(|key| cached(key).map_or((LayerState::ToBuild, None), |record| (LayerState::Cached, Some(record))))
        .collect();
    let Some(remote) = builder.remote.filter(|_| states.iter().any(|(_, record)| record.is_none())) else {
        return Ok(states);
    };
    let previous = remote.previous()?;
    let (mut wanted, mut blobs) = (Vec::new(), Vec::new());
    for (state, key) in states.iter_mut().zip(keys) {
        if let (None, Some((record, blob))) = (&state.1, previous.layers.get(&key.to_string())) {
            wanted.push((state, record));
            blobs.push(blob);
        }
    }
    for ((state, record), there) in wanted.into_iter().zip(remote.has(&blobs)?) {
        if there {
            *state = (LayerState::Registry, Some(record.clone()));
        }
    }
    Ok(states)
}

fn other_layers(layers: &[LayerReport]) -> Vec<OtherLayer> {
    let other = layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Environment | LayerKind::Application));
    other.map(|layer| OtherLayer { kind: layer.kind, digest: layer.digest, size: layer.size }).collect()
}

/// A target of whose packages nothing is known.
pub fn unseen(
    configuration: &Configuration,
    target: &Target,
    wheels: &BTreeMap<String, SourceWheel>,
    unpredicted: &mut Vec<Unpredicted>,
) -> Result<Seen, Error> {
    let unknown: Vec<String> = with_archives(&target.packages)
        .map(LockedPackage::name)
        .chain(without_wheel(&target.packages, wheels))
        .collect();
    unpredicted.push(unknown_packages(target, &unknown));
    Ok(Seen { layers: locked::layers(configuration, &target.packages)?, unknown, base: None, image: None })
}

fn unknown_packages(target: &Target, unknown: &[String]) -> Unpredicted {
    let packages = if unknown.len() == 1 { "a package".into() } else { format!("{} packages", unknown.len()) };
    let message = format!(
        "{}: it is not known what is in {packages}; build once, or name a published image with --cache-from",
        target.platform.name
    );
    Unpredicted { reason: Reason::UnknownPackages, message }
}
