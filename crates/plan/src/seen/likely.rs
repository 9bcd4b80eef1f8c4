//! An environment with packages whose contents are not known: what the layers of the others are if these keep to
//! themselves, which most packages do.
//!
//! It is reported beside what is certain, and nothing follows from it: a new package may have a file of another package, or
//! a link above one, and then that one's layer is another.

use std::collections::BTreeSet;

use crate::Error;
use crate::{
    found::{Seen, fails},
    layers::state,
    report::layer::{LikelyLayer, PlannedLayerReport},
};
use pixi_oci_pipeline::{ImagePlan, Package, SizedPackage, Workshop, divide, find_layers, package_layers, with_wheels};
use pixi_oci_project::Target;
use pixi_oci_sources::SourceWheels;

/// Adds to the layers of `seen`, which are what the lock file tells of them, what is likely.
pub fn add_likely(
    workshop: &Workshop<'_>,
    target: &Target,
    packages: Vec<Package<'_>>,
    wheels: &SourceWheels,
    seen: &mut Seen,
) -> Result<(), Error> {
    let Some(unknown) = sizes(target, &seen.unknown, workshop.project.configuration.split_above()) else {
        return Ok(());
    };
    let project = workshop.project;
    let known = packages.into_iter().filter(|package| !package.is_unknown()).collect();
    let known = with_wheels(known, wheels, &project.configuration.workdir);
    let base = seen.base.as_ref();
    let plan = match ImagePlan::new(project, target, known, base, workshop.stock) {
        Ok(plan) => plan,
        // It may be because of what is missing.
        Err(error) => return fails(error).map(drop),
    };
    let most = package_layers(project.configuration.max_layers, base.map_or(0, |base| base.layers().len()))?;
    let mut likely = divide(&plan.packages, &unknown, most, project)?;
    find_layers(&mut likely, workshop.stock)?;
    for planned in &likely {
        let names: BTreeSet<&str> = planned.packages.iter().map(|package| package.name.as_str()).collect();
        let same = |layer: &&mut PlannedLayerReport| {
            layer.part == planned.part
                && layer.packages.iter().map(|p| p.name.as_str()).collect::<BTreeSet<_>>() == names
        };
        if let Some(layer) = seen.layers.iter_mut().find(same) {
            let (digest, size) = planned.source.record().map(|record| (record.digest, record.size)).unzip();
            let key = planned.key.to_string();
            layer.likely = Some(LikelyLayer { key, state: state(&planned.source), digest, size });
        }
    }
    Ok(())
}

/// Names and sizes of the unknown packages; none where without them nothing can be told of the others: they decide where
/// modules go, or which packages share a layer.
fn sizes(target: &Target, names: &[String], split_above: u64) -> Option<Vec<SizedPackage>> {
    if names.iter().any(|name| name == "python") {
        return None;
    }
    let sized = names.iter().map(|name| {
        let package = target.packages.iter().find(|package| package.name() == *name)?;
        Some(SizedPackage::new(name.clone(), package.size()?, split_above))
    });
    sized.collect()
}
