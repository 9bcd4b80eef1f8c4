//! What a plan reports of package layers: as they were planned, or as far as the lock file alone tells.

use pixi_oci_lock::LockedPackage;

use crate::Error;
use crate::report::layer::{LayerState, PackagePlan, PlannedLayerReport};
use pixi_oci_pipeline::{LayerSource, Package, PackageKind, PlannedLayer, SizedPackage, group, locked, package_layers};
use pixi_oci_project::Project;

/// The layers of a plan, after it was looked up which exist.
pub fn from_plan(layers: &[PlannedLayer<'_>]) -> Vec<PlannedLayerReport> {
    layers.iter().map(of_planned).collect()
}

fn of_planned(planned: &PlannedLayer<'_>) -> PlannedLayerReport {
    let record = planned.source.record();
    PlannedLayerReport {
        bytes: planned.bytes,
        key: Some(planned.key.to_string()),
        state: state(&planned.source),
        likely: None,
        digest: record.map(|record| record.digest),
        size: record.map(|record| record.size),
        packages: planned.packages.iter().map(|package| of_package(package)).collect(),
    }
}

pub fn state(source: &LayerSource) -> LayerState {
    match source {
        LayerSource::Make => LayerState::ToBuild,
        LayerSource::Cache(_) => LayerState::Cached,
        LayerSource::Registry(..) => LayerState::Registry,
    }
}

/// The layers of locked packages. The base image is taken to have up to three layers, and a package of unknown length none.
pub fn from_lock(project: &Project, packages: &[LockedPackage]) -> Result<Vec<PlannedLayerReport>, Error> {
    let packages = locked(packages, &project.configuration.workdir);
    let sized: Vec<SizedPackage> =
        packages.iter().map(|p| SizedPackage { name: p.name.clone(), size: p.size().unwrap_or(0) }).collect();
    let groups = group(&sized, package_layers(project.configuration.max_layers, 0)?);
    let layers = groups.iter().map(|group| PlannedLayerReport {
        bytes: group.size,
        key: None,
        state: LayerState::Unknown,
        likely: None,
        digest: None,
        size: None,
        packages: group.packages.iter().map(|&index| of_package(&packages[index])).collect(),
    });
    Ok(layers.collect())
}

fn of_package(package: &Package<'_>) -> PackagePlan {
    let (version, build) = match &package.kind {
        PackageKind::Conda(record) => {
            (record.package_record.version.to_string(), Some(record.package_record.build.to_string()))
        }
        PackageKind::Wheel(wheel) => (wheel.version.clone(), None),
    };
    PackagePlan {
        name: package.name.clone(),
        version,
        build,
        size: package.size(),
        sha256: package.sha256().map(|sha256| sha256.to_string()),
    }
}
