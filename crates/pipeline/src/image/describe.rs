//! What is said of layers: annotations, history, report.

use std::{collections::BTreeMap, sync::Arc};

use pixi_oci_image::{LayerEntry, OwnLayer};
use pixi_oci_layer::Layer;

use crate::{
    layers::PackageLayer, layers::key::KEY_ANNOTATION, layers::key::PACKAGES_ANNOTATION, layers::key::PART_ANNOTATION,
    layers::plan::PlannedLayer, package::Package, package::PackageKind, report::LayerKind, report::LayerReport,
    report::WheelReport,
};

/// All layers of an image that are ours, bottom first.
pub struct Described<'a> {
    pub planned: &'a [PlannedLayer<'a>],
    /// The layers that were planned, in the same order.
    pub layers: &'a [PackageLayer],
    pub environment: &'a Layer,
    pub application: &'a Layer,
}

impl Described<'_> {
    fn packages(&self) -> impl Iterator<Item = (&PlannedLayer<'_>, &PackageLayer)> {
        paired(self.planned, self.layers)
    }

    /// For the manifest and the history.
    pub fn own_layers(&self) -> Vec<OwnLayer> {
        let packages = self.packages().map(|(planned, made)| package_layer(planned, &made.layer));
        let other = [other_layer(self.environment, "environment"), other_layer(self.application, "application")];
        packages.chain(other).collect()
    }

    /// For people and machines, with the base's layers.
    pub fn reports(&self, base: &[LayerEntry]) -> Vec<LayerReport> {
        let report = |kind, digest, diff_id, size| LayerReport {
            kind,
            digest,
            diff_id,
            size,
            packages: Vec::new(),
            part: None,
            key: None,
            origin: None,
        };
        let own = |kind, layer: &Layer| report(kind, layer.digest, layer.diff_id, layer.size);
        let base = base.iter().map(|LayerEntry { descriptor, diff_id, .. }| {
            report(LayerKind::Base, descriptor.digest, *diff_id, descriptor.size)
        });
        let packages = self.packages().map(|(planned, made)| LayerReport {
            packages: planned.labels(),
            part: planned.part,
            key: Some(planned.key.to_string()),
            origin: Some(made.origin),
            ..own(LayerKind::Packages, &made.layer)
        });
        base.chain(packages)
            .chain([own(LayerKind::Environment, self.environment), own(LayerKind::Application, self.application)])
            .collect()
    }
}

/// Layers that were planned, with what they became.
pub fn paired<'l, 'a>(
    planned: &'l [PlannedLayer<'a>],
    layers: &'l [PackageLayer],
) -> impl Iterator<Item = (&'l PlannedLayer<'a>, &'l PackageLayer)> {
    planned.iter().zip(layers)
}

/// A package layer, by which it is found again.
pub fn package_layer(planned: &PlannedLayer<'_>, layer: &Layer) -> OwnLayer {
    let labels = planned.labels().join(", ");
    let part = planned.part.map(|part| format!(", part {part}")).unwrap_or_default();
    let mut annotations = BTreeMap::from([
        (PACKAGES_ANNOTATION.to_string(), labels.clone()),
        (KEY_ANNOTATION.to_string(), planned.key.to_string()),
    ]);
    annotations.extend(planned.part.map(|part| (PART_ANNOTATION.to_string(), part.to_string())));
    OwnLayer {
        entry: LayerEntry::new(layer, annotations),
        created_by: format!("pixi-oci: {labels}{part}"),
        comment: None,
    }
}

/// A layer that is no package's.
pub fn other_layer(layer: &Layer, what: &str) -> OwnLayer {
    OwnLayer { entry: LayerEntry::new(layer, BTreeMap::new()), created_by: format!("pixi-oci: {what}"), comment: None }
}

pub fn wheel_reports(packages: &[Arc<Package<'_>>]) -> Vec<WheelReport> {
    let report = |package: &Package<'_>| {
        let (PackageKind::Wheel(wheel), Some(archive)) = (&package.kind, &package.archive) else { return None };
        Some(WheelReport {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            file_name: wheel.file_name.clone(),
            url: wheel.url.clone(),
            sha256: archive.sha256.to_string(),
            size: archive.size,
            locked: wheel.locked,
            source: wheel.source,
        })
    };
    packages.iter().filter_map(|package| report(package)).collect()
}
