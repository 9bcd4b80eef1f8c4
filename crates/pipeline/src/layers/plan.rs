//! What one image will be: its packages, and which of them share a layer. Nothing of it need be on this machine.

use std::sync::Arc;

use pixi_oci_image::Descriptor;
use rayon::prelude::*;

use crate::{
    Error, image::base::Base, layers::grouping::LayerPart, layers::grouping::SizedPackage, layers::grouping::group,
    layers::grouping::package_layers, layers::key::LayerKey, package::Package, package::hear::check_heard,
    package::place::place, stock::Stock, stock::cache::LayerRecord,
};
use pixi_oci_project::{Project, Target, virtual_packages};

/// An image whose packages are placed and divided into layers.
pub struct ImagePlan<'a> {
    pub target: &'a Target,
    /// All of them; those of the application layer are in no layer of `layers`.
    pub packages: Vec<Arc<Package<'a>>>,
    /// The package layers, bottom first.
    pub layers: Vec<PlannedLayer<'a>>,
    pub warnings: Vec<String>,
}

#[derive(Clone)]
pub struct PlannedLayer<'a> {
    /// By name.
    pub packages: Vec<Arc<Package<'a>>>,
    /// Which part of its one package it has, where that goes over several layers. These lie on one another.
    pub part: Option<LayerPart>,
    /// The sum of the lengths of its packages' archives, or of a part its share.
    pub bytes: u64,
    pub key: LayerKey,
    pub source: LayerSource,
}

#[derive(Debug, Clone)]
pub enum LayerSource {
    Make,
    Cache(LayerRecord),
    Registry(LayerRecord, Descriptor),
}

impl LayerSource {
    pub fn record(&self) -> Option<&LayerRecord> {
        match self {
            Self::Make => None,
            Self::Cache(record) | Self::Registry(record, _) => Some(record),
        }
    }
}

impl<'a> ImagePlan<'a> {
    /// Decides where every path goes, and which packages share a layer. Without a base image it is taken to have up to
    /// three layers, as most have.
    pub fn new(
        project: &Project,
        target: &'a Target,
        packages: Vec<Package<'a>>,
        base: Option<&Base>,
        stock: &Stock<'_>,
    ) -> Result<Self, Error> {
        let assumed = project.configuration.oci.base_glibc;
        let glibc = base.map_or(assumed, |base| base.glibc(assumed));
        Self::above(project, target, packages, base.map_or(0, |base| base.layers().len()), glibc, stock)
    }

    /// The same above so many layers of a base image with this C library.
    pub fn above(
        project: &Project,
        target: &'a Target,
        mut packages: Vec<Package<'a>>,
        own: usize,
        glibc: Option<(u32, u32)>,
        stock: &Stock<'_>,
    ) -> Result<Self, Error> {
        let glibc = glibc.or_else(|| virtual_packages::glibc(&target.virtual_packages));
        let mut warnings = place(target, &mut packages, glibc, &stock.facts)?;
        check_heard(&packages, &stock.heard)?;
        for package in packages.iter().filter(|package| package.has_post_link()) {
            let package = &package.label;
            warnings
                .push(format!("{package} has a post-link script; it is not run, what it would do is not in the image"));
        }
        warnings.extend(packages.iter().filter_map(Package::unpinned_warning));
        let max = project.configuration.max_layers;
        let layers = package_layers(max, own)?;
        if own > 3 {
            warnings.push(format!("the base image has {own} layers, which leaves {layers} of {max} for packages"));
        }
        let packages: Vec<Arc<Package<'a>>> = packages.into_iter().map(Arc::new).collect();
        let layers = divide(&packages, &[], layers, project)?;
        Ok(Self { target, packages, layers, warnings })
    }

    /// The packages with a script that conda would run after linking.
    pub fn post_link_scripts(&self) -> Vec<String> {
        let with_script = self.packages.iter().filter(|package| package.has_post_link());
        with_script.map(|package| package.label.clone()).collect()
    }

    /// Looks up which layers exist, without moving anything.
    pub fn find_layers(&mut self, stock: &Stock<'_>) -> Result<(), Error> {
        find_layers(&mut self.layers, stock)
    }
}

/// Which packages share a layer, if some more of which only name and size are known take part; their layers are left out.
pub fn divide<'a>(
    packages: &[Arc<Package<'a>>],
    others: &[SizedPackage],
    layers: usize,
    project: &Project,
) -> Result<Vec<PlannedLayer<'a>>, Error> {
    let in_layers: Vec<&Arc<Package<'a>>> = packages.iter().filter(|package| !package.is_own()).collect();
    let mut sized: Vec<SizedPackage> = in_layers
        .iter()
        .map(|package| {
            SizedPackage::new(package.name.clone(), package.size().unwrap_or(0), project.configuration.split_above())
        })
        .collect();
    sized.extend_from_slice(others);
    let mut planned = Vec::new();
    for group in group(&sized, layers) {
        let members: Option<Vec<Arc<Package<'a>>>> =
            group.packages.iter().map(|index| in_layers.get(*index).map(|package| Arc::clone(package))).collect();
        let Some(members) = members else { continue };
        let keys = members.iter().map(|package| package.key()).collect::<Result<Vec<_>, _>>()?;
        for (part, bytes) in group.layers() {
            let key = LayerKey::new(&keys, part, &project.configuration.prefix, project.configuration.compression);
            planned.push(PlannedLayer { packages: members.clone(), part, bytes, key, source: LayerSource::Make });
        }
    }
    Ok(planned)
}

/// Looks up which layers exist: in the cache, else in a registry, all of which are asked for at once. Those of parts that
/// their packages turned out not to have are left out.
pub fn find_layers(layers: &mut Vec<PlannedLayer<'_>>, stock: &Stock<'_>) -> Result<(), Error> {
    candidates(layers, stock)?;
    if let Some(remote) = stock.remote {
        let there = remote.has(&layers.iter().filter_map(PlannedLayer::blob).collect::<Vec<_>>())?;
        for layer in layers.iter_mut() {
            if layer.blob().is_some_and(|blob| !there.contains(&blob.digest)) {
                layer.source = LayerSource::Make;
            }
        }
    }
    let mut parts = None;
    layers.retain(|layer| {
        let Some(part) = layer.part else { return true };
        if part.index == 1 {
            parts = layer.source.record().and_then(|record| record.findings.parts);
        }
        parts.is_none_or(|parts| part.index <= parts)
    });
    Ok(())
}

/// Notes which layers the cache or the published images say they have. Neither is proof.
pub fn candidates(layers: &mut [PlannedLayer<'_>], stock: &Stock<'_>) -> Result<(), Error> {
    layers.par_iter_mut().for_each(|layer| {
        if let Some(record) = stock.layers.as_ref().and_then(|cache| cache.find(&layer.key)) {
            layer.source = LayerSource::Cache(record);
        }
    });
    let Some(remote) = stock.remote.filter(|_| layers.iter().any(|layer| layer.source.record().is_none())) else {
        return Ok(());
    };
    let previous = remote.previous()?;
    for layer in layers.iter_mut().filter(|layer| layer.source.record().is_none()) {
        if let Some((record, blob)) = previous.layers.get(&layer.key.to_string()) {
            layer.source = LayerSource::Registry(record.clone(), blob.clone());
        }
    }
    Ok(())
}

impl PlannedLayer<'_> {
    pub fn blob(&self) -> Option<&Descriptor> {
        match &self.source {
            LayerSource::Registry(_, blob) => Some(blob),
            _ => None,
        }
    }

    pub fn labels(&self) -> Vec<String> {
        self.packages.iter().map(|package| package.label.clone()).collect()
    }
}
