//! What a plan reports of package layers: as they were planned, or as far as the lock file alone tells.

use pixi_oci_lock::LockedPackage;

use crate::Error;
use crate::report::layer::{LayerState, PackagePlan, PlannedLayerReport};
use pixi_oci_pipeline::{LayerSource, Package, PackageKind, PlannedLayer, SizedPackage, group, locked, package_layers};
use pixi_oci_project::Project;

/// A layer of a plan, after it was looked up whether it exists.
pub fn from_plan(planned: &PlannedLayer<'_>) -> PlannedLayerReport {
    let record = planned.source.record();
    PlannedLayerReport {
        part: planned.part,
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
    let (max, split_above) = (project.configuration.max_layers, project.configuration.split_above());
    let sized = packages.iter().map(|p| SizedPackage::new(p.name.clone(), p.size().unwrap_or(0), split_above));
    let groups = group(&sized.collect::<Vec<_>>(), package_layers(max, 0)?);
    let layers = groups.iter().flat_map(|group| group.layers().map(move |layer| (group, layer)));
    let layers = layers.map(|(group, (part, bytes))| PlannedLayerReport {
        part,
        bytes,
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
