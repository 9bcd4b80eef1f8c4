//! What the packages of an image have together: paths, activation scripts, and the table that the image carries of them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Error, layers::PackageLayer, package::Facts, package::Package, stock::cache::KnownArchive, stock::table::LayerTable,
};

/// Whether some package has a file at `path` below the prefix.
pub fn has_path(packages: &[Arc<Package<'_>>], path: &str) -> bool {
    packages.iter().any(|package| package.paths().iter().any(|(own, _)| own.as_str() == path))
}

/// Where the environment's certificates are. OpenSSL looks where it was built, which is not always the prefix; and curl, git
/// and Python ask this variable.
pub fn certificates(packages: &[Arc<Package<'_>>], prefix: &str) -> Option<(String, String)> {
    let bundle = ["ssl/cert.pem", "ssl/cacert.pem"].into_iter().find(|path| has_path(packages, path))?;
    Some(("SSL_CERT_FILE".into(), format!("{prefix}/{bundle}")))
}

/// The packages' activation scripts in the prefix, in the order in which conda runs them: by file name.
pub fn activation_scripts(packages: &[Arc<Package<'_>>], prefix: &str) -> Vec<String> {
    let mut scripts: Vec<String> = packages
        .iter()
        .flat_map(|package| package.paths())
        .map(|(path, _)| path.as_str())
        .filter(|path| {
            // The one ending that rattler_shell takes for bash.
            let name = path.strip_prefix("etc/conda/activate.d/").unwrap_or_default();
            !name.contains('/') && name.ends_with(".sh")
        })
        .map(|path| format!("{prefix}/{path}"))
        .collect();
    scripts.sort();
    scripts
}

/// What the image records of its package layers. Conda packages of which not everything is known are read for it.
pub fn layer_table(layers: &[PackageLayer], packages: &[Arc<Package<'_>>]) -> Result<LayerTable, Error> {
    let (mut conda, mut wheels) = (BTreeMap::new(), BTreeMap::new());
    for package in packages.iter().filter(|package| !package.is_own()) {
        let (Some(archive), Some(key)) = (&package.archive, package.facts_key(package.python())) else { continue };
        if let Some(Facts::Wheel(facts)) = &package.facts {
            wheels.insert(key, KnownArchive { size: archive.size, facts: facts.clone() });
        } else if let Some(facts) = package.complete_facts()? {
            conda.insert(key, facts);
        }
    }
    let layers = layers.iter().map(|made| made.findings.clone()).collect();
    Ok(LayerTable::new(layers, conda, wheels))
}
