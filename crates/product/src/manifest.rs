//! `manifest.json`: what is in a product.

use std::path::Path;

use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, read};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of `manifest.json` and of what is around it.
pub const FORMAT: u32 = 1;
/// The file's name.
pub const MANIFEST: &str = "manifest.json";
/// The directory of packages, with one directory a platform.
pub const PKG_CACHE: &str = "pkg-cache";
/// rattler's package cache, in a platform's directory.
pub const PKGS: &str = "pkgs";
/// The archives of conda packages, in a platform's directory.
pub const ARCHIVES: &str = "archives";
/// The wheels, in a platform's directory.
pub const WHEELS: &str = "wheels";
/// The directory of resources.
pub const RESOURCES: &str = "res";
/// The directory of programs, with one directory a platform.
pub const BIN: &str = "bin";
/// The one directory that is not part of the product: where it is installed unless somebody says otherwise.
pub const INSTALLED: &str = "installed";
/// Names at the top that a project cannot have.
pub const RESERVED: [&str; 10] = [
    PKG_CACHE,
    RESOURCES,
    BIN,
    INSTALLED,
    MANIFEST,
    "envs.sh",
    "bootstrap-project.sh",
    crate::FILES,
    crate::SHA256SUMS,
    crate::DIGEST,
];

/// The largest manifests are those of thousands of packages.
const MAX_MANIFEST: u64 = 64 << 20;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductManifest {
    /// [`FORMAT`]
    pub format: u32,
    /// The version of pixi-oci that made it.
    pub pixi_oci: String,
    /// The version of pixi that is in it, if one is.
    pub pixi: Option<String>,
    /// The directory of the project.
    pub name: String,
    /// The workspace manifest's file name.
    pub workspace_manifest: String,
    /// Of the lock file in the product.
    pub lock_file_digest: Digest,
    /// The conda platforms.
    pub platforms: Vec<String>,
    /// Packages of which code was run to make their wheels: `pypi:NAME VERSION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executed: Vec<String>,
    /// By name, then platform.
    pub environments: Vec<ProductEnvironment>,
    /// Files of the project.
    pub project: Vec<ProductFile>,
    /// Resources.
    pub resources: Vec<ProductFile>,
    /// Programs in `bin/`.
    pub programs: Vec<ProductFile>,
}

/// One environment on one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductEnvironment {
    /// Its name.
    pub name: String,
    /// The platform's name in the workspace manifest.
    pub platform: String,
    /// The conda platform.
    pub subdir: String,
    /// What it is made of, conda packages first.
    pub packages: Vec<PackageEntry>,
}

/// A package of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageEntry {
    /// The conda name, or `pypi:` and the Python one.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of a conda package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Where it was published, without credentials; none of what was made of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its archive, in the product.
    pub archive: String,
    /// Of the archive.
    pub digest: Digest,
    /// The archive's length in bytes.
    pub size: u64,
    /// Of a wheel: how it came to be, as in the build report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of a wheel that was made of a directory of the workspace: that directory, from the workspace's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

/// A file that is not a package's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductFile {
    /// In the product.
    pub path: String,
    /// Of its content; none of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether it is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl ProductManifest {
    /// As it is written.
    ///
    /// # Errors
    /// None that can happen: everything in it is text.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let failed = |e: serde_json::Error| Error::Manifest { path: MANIFEST.into(), reason: e.to_string() };
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// Reads the manifest of the product in `directory`.
///
/// # Errors
/// The directory is no product; or the manifest is one of another format.
pub fn read_manifest(directory: &Path) -> Result<ProductManifest, Error> {
    let path = directory.join(MANIFEST);
    let bad = |reason: String| Error::Manifest { path: path.clone(), reason };
    let bytes = match read(&path, Links::Refuse, MAX_MANIFEST) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoProduct { path: directory.to_owned() });
        }
        bytes => bytes.map_err(Error::io("read", &path))?,
    };
    let manifest: ProductManifest = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if manifest.format != FORMAT {
        return Err(bad(format!("it has format {}, and {FORMAT} is the one known", manifest.format)));
    }
    Ok(manifest)
}
