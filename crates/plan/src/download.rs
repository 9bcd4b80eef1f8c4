//! Which archives a build would fetch.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_fetch::{ArchiveCache, FetchItem};
use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;

use crate::Error;
use crate::{
    report::DownloadPlan,
    report::layer::{LayerState, PlannedLayerReport},
};

/// What is to be fetched for all targets of a build, each archive once.
pub struct Downloads<'a> {
    cache: Option<&'a ArchiveCache>,
    /// By what tells archives apart: the package, its archive's length, and whether it is needed for certain.
    archives: BTreeMap<String, (String, u64, bool)>,
    layers: BTreeMap<Digest, u64>,
}

impl<'a> Downloads<'a> {
    pub fn new(cache: Option<&'a ArchiveCache>) -> Self {
        Self { cache, archives: BTreeMap::new(), layers: BTreeMap::new() }
    }

    /// Adds what a target needs for its `layers`: archives of layers that have to be made, and those of which nobody knows
    /// what is in them.
    pub fn add(
        &mut self,
        packages: &[LockedPackage],
        layers: &[PlannedLayerReport],
        unknown: &[String],
    ) -> Result<(), Error> {
        let names = |state: LayerState| -> BTreeSet<&str> {
            let layers = layers.iter().filter(|layer| layer.state == state);
            layers.flat_map(|layer| &layer.packages).map(|package| package.name.as_str()).collect()
        };
        let (to_build, perhaps) = (names(LayerState::ToBuild), names(LayerState::Unknown));
        for package in packages {
            let name = package.name();
            let is_certain = to_build.contains(name.as_str()) || unknown.contains(&name);
            let Some(item) = FetchItem::for_package(package) else { continue };
            let is_here = || self.cache.map_or(Ok(None), |cache| cache.lookup(&item));
            if (is_certain || perhaps.contains(name.as_str())) && is_here()?.is_none() {
                let identity = item.sha256.map_or_else(|| format!("{:?}", item.location), |sha256| sha256.to_string());
                let known = self.archives.entry(identity).or_insert((name, item.size.unwrap_or(0), false));
                known.2 |= is_certain;
            }
        }
        for layer in layers.iter().filter(|layer| layer.state == LayerState::Registry) {
            if let (Some(digest), Some(size)) = (layer.digest, layer.size) {
                self.layers.insert(digest, size);
            }
        }
        Ok(())
    }

    pub fn plan(self) -> DownloadPlan {
        let mut packages: Vec<String> =
            self.archives.values().filter(|archive| archive.2).map(|archive| archive.0.clone()).collect();
        packages.sort();
        let archives = packages.len();
        packages.dedup();
        DownloadPlan {
            archives,
            bytes: self.archives.values().filter(|archive| archive.2).map(|archive| archive.1).sum(),
            at_most_bytes: self.archives.values().map(|archive| archive.1).sum(),
            packages,
            layers: self.layers.len(),
            layer_bytes: self.layers.values().sum(),
        }
    }
}
