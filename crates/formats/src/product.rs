//! `manifest.json` of an air-gap product: what is in it.

use pixi_oci_layer::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of `manifest.json` and of what is around it.
pub const VERSION: u32 = 1;
/// The file's name.
pub const MANIFEST: &str = "manifest.json";
/// The largest manifests are those of thousands of packages.
pub const MAX_SIZE: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductManifest {
    /// [`VERSION`]
    pub format: u32,
    /// The version of pixi-oci that made it.
    pub pixi_oci: String,
    /// The version of pixi that is in it, if one is.
    pub pixi: Option<String>,
    /// The image that the project was taken out of, if it was one: the digest of its index, else of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The directory of the project.
    pub name: String,
    /// The workspace manifest's file name.
    pub workspace_manifest: String,
    pub lock_file_digest: Digest,
    pub platforms: Vec<String>,
    /// Packages of which code was run to make their wheels: `pypi:NAME VERSION`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executed: Vec<String>,
    /// By name, then platform.
    pub environments: Vec<ProductEnvironment>,
    pub project: Vec<ProductFile>,
    pub resources: Vec<ProductFile>,
    /// Programs in `bin/`.
    pub programs: Vec<ProductFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProductEnvironment {
    pub name: String,
    /// The platform's name in the workspace manifest.
    pub platform: String,
    /// The conda platform.
    pub subdir: String,
    /// What it is made of, conda packages first.
    pub packages: Vec<PackageEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageEntry {
    /// The conda name, or `pypi:` and the Python one.
    pub name: String,
    pub version: String,
    /// Of a conda package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Where it was published, without credentials; none of what was made of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub archive: String,
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
    /// As it is written, for people to read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::parse(bytes, VERSION)
    }
}
