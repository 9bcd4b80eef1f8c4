//! What the packages of an image have together: paths, activation scripts, and the table that the image carries of them.

pub mod places;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Error, layers::PackageLayer, package::Facts, package::Link, package::Package, package::PackageKind,
    package::Placement, stock::cache::KnownArchive, stock::cache::wheel_key, stock::table::LayerTable,
    stock::table::table_layer,
};

/// Whether some package has a file at `path` below the prefix.
pub fn has_path(packages: &[Arc<Package<'_>>], path: &str) -> bool {
    packages.iter().any(|package| package.paths().iter().any(|(own, _)| own.as_str() == path))
}

/// The packages' activation scripts below the prefix, in the order in which conda runs them: by file name.
pub fn activation_scripts(packages: &[Arc<Package<'_>>]) -> Vec<String> {
    let mut scripts: Vec<String> = packages
        .iter()
        .flat_map(|package| package.paths())
        .map(|(path, _)| path.as_str())
        .filter(|path| {
            // The one ending that rattler_shell takes for bash.
            let name = path.strip_prefix("etc/conda/activate.d/").unwrap_or_default();
            !name.contains('/') && name.ends_with(".sh")
        })
        .map(str::to_string)
        .collect();
    scripts.sort();
    scripts
}

/// What the image records of its package layers. Conda packages of which not everything is known are read for it.
pub fn layer_table(layers: &[PackageLayer], packages: &[Arc<Package<'_>>]) -> Result<LayerTable, Error> {
    let (mut conda, mut wheels) = (BTreeMap::new(), BTreeMap::new());
    for package in packages.iter().filter(|package| !package.is_own()) {
        let Some(archive) = &package.archive else { continue };
        match (&package.kind, &package.facts, &package.placement) {
            (PackageKind::Conda(_), ..) => {
                if let Some(facts) = package.complete_facts()? {
                    conda.insert(archive.sha256.to_string(), facts);
                }
            }
            (
                PackageKind::Wheel(wheel),
                Some(Facts::Wheel(facts)),
                Some(Placement { link: Link::Wheel { python, .. }, .. }),
            ) => {
                let known = KnownArchive { size: archive.size, facts: facts.clone() };
                wheels.insert(wheel_key(&archive.sha256, python, wheel.direct_url.as_ref()), known);
            }
            _ => {}
        }
    }
    let layers = layers.iter().map(|layer| table_layer(layer.layer.tar_size, &layer.findings));
    Ok(LayerTable::new(layers.collect(), conda, wheels))
}
