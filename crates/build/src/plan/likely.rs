//! An environment with packages of which nobody knows what is in them: what the layers of the others are if these keep to
//! themselves, which most packages do.
//!
//! It is said beside what is certain, and nothing follows from it: a new package may have a file of another package, or a
//! link above one, and then that one's layer is another.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    LayerPlan, LikelyLayer,
    seen::{Here, fails, states},
};
use crate::{
    Error, LayerGroup, SizedPackage, SourceWheel,
    base::Base,
    group,
    image::ImageBuilder,
    layers::layer_key,
    package_layers,
    packages::{Contents, sized, with_archives},
    target::Target,
};

/// Adds to `layers`, which are what the lock file tells of them, what is likely.
pub fn add_likely(
    builder: &ImageBuilder<'_>,
    target: &Target,
    here: Here,
    wheels: &BTreeMap<String, SourceWheel>,
    base: Option<&Base>,
    layers: &mut [LayerPlan],
) -> Result<(), Error> {
    let Some(unknown) = unknown(target, &here.unknown) else { return Ok(()) };
    let rest = Target {
        packages: target.packages.iter().filter(|package| !here.unknown.contains(&package.name())).cloned().collect(),
        ..target.clone()
    };
    let known = with_archives(&target.packages).zip(here.known);
    let known = known.filter(|(package, _)| !here.unknown.contains(&package.name())).map(|(_, known)| known);
    let configuration = builder.configuration;
    let contents =
        Contents::new(&rest, known.collect(), &mut here.archives.into_iter(), wheels, &configuration.workdir);
    let divided = match builder.divide(&rest, &contents, base) {
        Ok(divided) => divided,
        // It may be because of what is missing.
        Err(error) => return fails(error).map(drop),
    };
    let mut all = sized(&divided.packages);
    let count = all.len();
    all.extend(unknown);
    let most = package_layers(configuration.max_layers, base.map_or(0, |base| base.layers().len()))?;
    let is_known = |group: &LayerGroup| group.packages.iter().all(|&index| index < count);
    let groups: Vec<LayerGroup> = group(&all, most).into_iter().filter(is_known).collect();
    let key = |group| layer_key(group, &divided.packages, &configuration.prefix, configuration.compression);
    let keys: Vec<_> = groups.iter().map(key).collect();
    let found = states(builder, &keys)?;
    for ((group, key), (state, record)) in groups.iter().zip(&keys).zip(found) {
        let names: BTreeSet<&str> = group.packages.iter().map(|&index| all[index].name.as_str()).collect();
        let same =
            |layer: &&mut LayerPlan| layer.packages.iter().map(|p| p.name.as_str()).collect::<BTreeSet<_>>() == names;
        if let Some(layer) = layers.iter_mut().find(same) {
            let (digest, size) = record.map(|record| (record.digest, record.size)).unzip();
            layer.likely = Some(LikelyLayer { key: key.to_string(), state, digest, size });
        }
    }
    Ok(())
}

/// The unknown packages; none where without them nothing can be said of the others: they decide where modules go, or which
/// packages share a layer.
fn unknown(target: &Target, names: &[String]) -> Option<Vec<SizedPackage>> {
    if names.iter().any(|name| name == "python") {
        return None;
    }
    let sized = names.iter().map(|name| {
        let package = with_archives(&target.packages).find(|package| package.name() == *name)?;
        Some(SizedPackage { name: name.clone(), size: package.size()? })
    });
    sized.collect()
}
