//! `manifest.json`: what is in a product.

use std::path::Path;

use pixi_oci_platform::{Links, read};

pub use pixi_oci_formats::product::{
    MANIFEST, MAX_SIZE, PackageEntry, ProductEnvironment, ProductFile, ProductManifest, VERSION as FORMAT,
};

use crate::Error;

/// The directory of packages, with one directory a platform.
pub const PKG_CACHE: &str = "pkg-cache";
/// rattler's package cache, in a platform's directory.
pub const PKGS: &str = "pkgs";
/// The archives of conda packages, in a platform's directory.
pub const ARCHIVES: &str = "archives";
pub const WHEELS: &str = "wheels";
pub const RESOURCES: &str = "res";
/// The directory of programs, with one directory a platform.
pub const BIN: &str = "bin";
/// The directory of the bootstrap's single steps.
pub const HELPERS: &str = "helpers";
/// The one directory that is not part of the product: where it is installed unless somebody says otherwise.
pub const INSTALLED: &str = "installed";
/// Names at the top that a project cannot have.
pub const RESERVED: [&str; 11] = [
    PKG_CACHE,
    RESOURCES,
    BIN,
    INSTALLED,
    MANIFEST,
    "envs.sh",
    "bootstrap-project.sh",
    HELPERS,
    crate::FILES,
    crate::SHA256SUMS,
    crate::DIGEST,
];

pub fn read_manifest(directory: &Path) -> Result<ProductManifest, Error> {
    let path = directory.join(MANIFEST);
    let bad = |reason: String| Error::Manifest { path: path.clone(), reason };
    let bytes = match read(&path, Links::Refuse, MAX_SIZE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoProduct { path: directory.to_owned() });
        }
        bytes => bytes.map_err(Error::io("read", &path))?,
    };
    let manifest = ProductManifest::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    match unusable(&manifest) {
        Some(reason) => Err(bad(reason.into())),
        None => Ok(manifest),
    }
}

/// What a manifest may not say, in a product that is read as in one that is made.
pub(crate) fn unusable(manifest: &ProductManifest) -> Option<&'static str> {
    // Both become paths.
    let is_path = |name: &str| name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']);
    let is_bad = is_path(&manifest.name) || is_path(&manifest.workspace_manifest);
    is_bad.then_some("`name` or `workspaceManifest` is a path")
}
