//! Which archives a build would fetch.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_fetch::{ArchiveCache, FetchItem};
use pixi_oci_layer::Digest;
use pixi_oci_project::Target;

use crate::{Error, found::Seen, report::DownloadPlan, report::layer::LayerState};

/// What is to be fetched for all targets of a build, each archive once and not what is in `cache`: archives of layers that have to be
/// made, and those whose contents are not known.
pub fn downloads<'a>(
    cache: Option<&ArchiveCache>,
    targets: impl Iterator<Item = (&'a Target, &'a Seen)>,
) -> Result<DownloadPlan, Error> {
    // By what tells archives apart: the package, its archive's length, and whether it is needed for certain.
    let mut archives: BTreeMap<String, (String, u64, bool)> = BTreeMap::new();
    let mut fetched: BTreeMap<Digest, u64> = BTreeMap::new();
    for (target, Seen { layers, unknown, .. }) in targets {
        let names = |state: LayerState| -> BTreeSet<&str> {
            let layers = layers.iter().filter(|layer| layer.state == state);
            layers.flat_map(|layer| &layer.packages).map(|package| package.name.as_str()).collect()
        };
        let (to_build, perhaps) = (names(LayerState::ToBuild), names(LayerState::Unknown));
        for package in &target.packages {
            let name = package.name();
            let is_certain = to_build.contains(name.as_str()) || unknown.contains(&name);
            let Some(item) = FetchItem::for_package(package) else { continue };
            let is_here = || cache.map_or(Ok(None), |cache| cache.lookup(&item));
            if (is_certain || perhaps.contains(name.as_str())) && is_here()?.is_none() {
                let identity = item.sha256.map_or_else(|| format!("{:?}", item.location), |sha256| sha256.to_string());
                let known = archives.entry(identity).or_insert((name, item.size.unwrap_or(0), false));
                known.2 |= is_certain;
            }
        }
        for layer in layers.iter().filter(|layer| layer.state == LayerState::Registry) {
            fetched.extend(layer.digest.zip(layer.size));
        }
    }
    let certain = || archives.values().filter(|archive| archive.2);
    let mut packages: Vec<String> = certain().map(|archive| archive.0.clone()).collect();
    packages.sort();
    packages.dedup();
    Ok(DownloadPlan {
        archives: certain().count(),
        bytes: certain().map(|archive| archive.1).sum(),
        at_most_bytes: archives.values().map(|archive| archive.1).sum(),
        packages,
        layers: fetched.len(),
        layer_bytes: fetched.values().sum(),
    })
}
