//! Layers as far as the lock file alone tells.

use pixi_oci_lock::LockedPackage;

use super::{LayerPlan, LayerState, PackagePlan};
use crate::{
    Error, LayerGroup, SizedPackage, configuration::Configuration, group, package_layers, packages::with_archives,
};

/// The layers of locked packages. The base image is taken to have up to three layers, and a package of unknown length none.
pub fn layers(configuration: &Configuration, packages: &[LockedPackage]) -> Result<Vec<LayerPlan>, Error> {
    let in_layers: Vec<&LockedPackage> = with_archives(packages).collect();
    let sized: Vec<SizedPackage> =
        in_layers.iter().map(|p| SizedPackage { name: p.name(), size: p.size().unwrap_or(0) }).collect();
    let groups = group(&sized, package_layers(configuration.max_layers, 0)?);
    Ok(groups.iter().map(|group| layer(group, &in_layers)).collect())
}

fn layer(group: &LayerGroup, packages: &[&LockedPackage]) -> LayerPlan {
    let packages = group.packages.iter().map(|&index| {
        let package = packages[index];
        let (version, build) = match package {
            LockedPackage::Conda(record) => {
                (record.package_record.version.to_string(), Some(record.package_record.build.to_string()))
            }
            LockedPackage::Wheel(wheel) => (wheel.version.clone(), None),
            LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => (String::new(), None),
        };
        PackagePlan {
            name: package.name(),
            version,
            build,
            size: package.size(),
            sha256: package.sha256().map(|sha256| sha256.to_string()),
        }
    });
    LayerPlan {
        bytes: group.size,
        key: None,
        state: LayerState::Unknown,
        likely: None,
        digest: None,
        size: None,
        packages: packages.collect(),
    }
}
