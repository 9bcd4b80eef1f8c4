//! What is different from an image of before, package by package, and what that costs.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_image::Image;
use pixi_oci_layer::Digest;
use serde::Serialize;

use crate::{
    past::PastImage,
    past::is_same,
    report::layer::{OtherLayer, PackagePlan, PlannedLayerReport},
};
use pixi_oci_pipeline::LayerKind;

/// The differences of one platform's image.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The other image's manifest; none if it has no image for the platform, and everything is new.
    pub manifest: Option<Digest>,
    /// Whether a build gives that image again, but for the commit that it says it is of; none if the build's image is not
    /// known.
    pub same: Option<bool>,
    /// Packages that were added, removed or changed, by name.
    pub packages: Vec<ChangedPackage>,
    /// Package layers that are others though their packages are the same: other packages or options changed what is in
    /// them, or with whom they share a layer. Positions in `layers`.
    pub other_package_layers: Vec<usize>,
    /// Layers of the base image, environment and application that are others, as far as that is known.
    pub other_layers: Vec<OtherLayer>,
    /// The sum of the lengths of all layers that are others, each counted once.
    pub bytes: u64,
    /// Whether the lengths of all these layers are known. Else the lengths of their packages' archives are in the sum, and
    /// the environment and application layers may be missing.
    pub exact: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedPackage {
    /// The conda name, or `pypi:` and the normalised name.
    pub name: String,
    /// Version and build before; none if it was not there.
    pub before: Option<String>,
    /// Version and build now; none if it is gone. Equal to `before` where only the archive is another one.
    pub after: Option<String>,
    /// The layers that are others because of it, which other packages may share. Positions in `layers`.
    pub layers: Vec<usize>,
    pub bytes: u64,
    /// Whether these lengths are known. Else those of the packages' archives are in the sum.
    pub exact: bool,
}

pub struct Present<'a> {
    /// The image, if it is known.
    pub image: Option<&'a Image>,
    pub layers: &'a [PlannedLayerReport],
    /// The environment and application layers, if they are known.
    pub other: &'a [OtherLayer],
    /// The base image's layers, if they are known.
    pub base: Option<Vec<OtherLayer>>,
}

pub fn changes(present: &Present<'_>, past: Option<&PastImage>) -> Changes {
    let before = past.map(packages_of).unwrap_or_default();
    let mut after: BTreeMap<&str, (&PackagePlan, BTreeSet<usize>)> = BTreeMap::new();
    for (index, layer) in present.layers.iter().enumerate() {
        for package in &layer.packages {
            after.entry(&package.name).or_insert_with(|| (package, BTreeSet::new())).1.insert(index);
        }
    }
    let is_other = |name: &str| match (before.get(name), after.get(name)) {
        (Some((old, _)), Some((new, _))) => *old != version(new) || is_rebuilt(new, past),
        _ => true,
    };
    let moved: BTreeSet<usize> =
        (0..present.layers.len()).filter(|&index| is_moved(&present.layers[index], past, &is_other)).collect();
    let mut names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    names.retain(|name| is_other(name));
    let packages: Vec<ChangedPackage> = names
        .into_iter()
        .map(|name| {
            let (old, new) = (before.get(name), after.get(name));
            let layers: BTreeSet<usize> = match new {
                Some((_, layers)) => layers.clone(),
                // It is gone: what is left of the layer that it was in.
                None => {
                    let neighbours = after.iter().filter(|(other, _)| shares(&before, name, other));
                    neighbours.flat_map(|(_, (_, layers))| layers.iter().copied()).collect()
                }
            };
            let layers: Vec<usize> = layers.intersection(&moved).copied().collect();
            let (bytes, exact) = sum(present.layers, &layers);
            ChangedPackage {
                name: name.to_owned(),
                before: old.map(|(version, _)| (*version).to_owned()),
                after: new.map(|(package, _)| version(package)),
                layers,
                bytes,
                exact,
            }
        })
        .collect();
    let because: BTreeSet<usize> = packages.iter().flat_map(|package| package.layers.clone()).collect();
    let known: BTreeSet<Digest> = past.iter().flat_map(|past| &past.layers).map(|layer| layer.digest).collect();
    let others = present.base.iter().flatten().chain(present.other);
    let other_layers: Vec<OtherLayer> = others.filter(|layer| !known.contains(&layer.digest)).cloned().collect();
    let (bytes, exact) = sum(present.layers, &moved.iter().copied().collect::<Vec<_>>());
    Changes {
        manifest: past.map(|past| past.digest),
        same: present.image.map(|image| past.is_some_and(|past| is_same(image, past))),
        packages,
        other_package_layers: moved.difference(&because).copied().collect(),
        bytes: bytes + other_layers.iter().map(|layer| layer.size).sum::<u64>(),
        exact: exact && present.base.is_some() && !present.other.is_empty(),
        other_layers,
    }
}

/// Of each package the version and build, and the position of its layer, the topmost of several.
fn packages_of(past: &PastImage) -> BTreeMap<&str, (&str, usize)> {
    let labels =
        past.layers.iter().enumerate().flat_map(|(i, layer)| layer.packages.iter().map(move |label| (label, i)));
    labels
        .map(|(label, layer)| label.split_once(' ').map_or((label.as_str(), ("", layer)), |(n, v)| (n, (v, layer))))
        .collect()
}

fn shares(before: &BTreeMap<&str, (&str, usize)>, gone: &str, other: &str) -> bool {
    matches!((before.get(gone), before.get(other)), (Some((_, a)), Some((_, b))) if a == b)
}

fn version(package: &PackagePlan) -> String {
    let build = package.build.iter().map(|build| format!(" {build}"));
    std::iter::once(package.version.clone()).chain(build).collect()
}

/// Whether the archive is another one, as far as the image says which ones it has.
fn is_rebuilt(package: &PackagePlan, past: Option<&PastImage>) -> bool {
    let Some(past) = past.filter(|past| !past.archives.is_empty() && package.build.is_some()) else { return false };
    package.sha256.as_ref().is_some_and(|sha256| !past.archives.contains(sha256))
}

/// Whether the image lacks the layer. Without a key it has it if it has one of the same packages.
fn is_moved(layer: &PlannedLayerReport, past: Option<&PastImage>, is_other: &dyn Fn(&str) -> bool) -> bool {
    let Some(past) = past else { return true };
    if let Some(digest) = layer.digest {
        return past.layers.iter().all(|old| old.digest != digest);
    }
    if let Some(key) = &layer.key {
        return past.layers.iter().all(|old| old.key.as_ref() != Some(key));
    }
    let name = |label: &str| label.split(' ').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = layer.packages.iter().map(|package| package.name.clone()).collect();
    let same = |labels: &[String]| labels.iter().map(|label| name(label)).collect::<BTreeSet<_>>() == names;
    names.iter().any(|name| is_other(name)) || !past.layers.iter().any(|old| same(&old.packages))
}

/// The lengths of layers, or of their archives.
fn sum(layers: &[PlannedLayerReport], wanted: &[usize]) -> (u64, bool) {
    let wanted = || wanted.iter().filter_map(|&index| layers.get(index));
    (wanted().map(|layer| layer.size.unwrap_or(layer.bytes)).sum(), wanted().all(|layer| layer.size.is_some()))
}

pub fn base_layers(base: &pixi_oci_pipeline::Base) -> Vec<OtherLayer> {
    let layers = base.layers().iter().map(|layer| &layer.descriptor);
    layers.map(|blob| OtherLayer { kind: LayerKind::Base, digest: blob.digest, size: blob.size }).collect()
}
