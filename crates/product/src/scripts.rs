//! The scripts of a product, which are the same for all but for a few words.

use pixi_oci_platform::quote;

use crate::{Error, Product, ProductManifest, writer::path};

const ENVS: &str = include_str!("scripts/envs.sh");
const BOOTSTRAP: &str = include_str!("scripts/bootstrap-project.sh");
const HELPER: &str = include_str!("scripts/helper.sh");

/// The steps of the bootstrap: the scripts of `helpers/`, what each does, and its name there.
const HELPERS: [(&str, &str, &str); 4] = [
    ("check", "Checks every file of the product", "check"),
    ("copy-project", "Copies the project to --to DIR", "project"),
    ("copy-packages", "Copies the packages, for pixi, to --to DIR", "packages"),
    ("install", "Installs the environments of the project in --to DIR", "environments"),
];

/// The scripts' names and texts, and whether they are programs.
pub(crate) fn scripts(manifest: &ProductManifest) -> Vec<(String, String, bool)> {
    let mut environments: Vec<&str> = manifest.environments.iter().map(|e| e.name.as_str()).collect();
    environments.dedup();
    let bootstrap = BOOTSTRAP
        .replace("@NAME@", &quote(&manifest.name))
        .replace("@MANIFEST@", &quote(&manifest.workspace_manifest))
        .replace("@ENVIRONMENTS@", &quote(&environments.join(" ")));
    let helpers = HELPERS.iter().map(|(name, what, step)| {
        (format!("{}/{name}.sh", crate::HELPERS), HELPER.replace("@WHAT@", what).replace("@STEP@", step), true)
    });
    let own = [("envs.sh".to_owned(), ENVS.to_owned(), false), ("bootstrap-project.sh".to_owned(), bootstrap, true)];
    own.into_iter().chain(helpers).collect()
}

pub(crate) fn write_scripts(product: &Product, manifest: &ProductManifest) -> Result<(), Error> {
    for (name, text, executable) in scripts(manifest) {
        product.bytes(&path(&name)?, executable, text.as_bytes())?;
    }
    Ok(())
}
