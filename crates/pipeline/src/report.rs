//! What was built, for people and machines.

use pixi_oci_layer::{DiffId, Digest};
use serde::Serialize;

use crate::layers::grouping::LayerPart;

/// The result of a build. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildReport {
    /// The destination with its tag, e.g. `oci:dist/oci:latest`.
    pub reference: String,
    /// Of the image index, or of the image manifest where the destination holds one image only.
    pub digest: Digest,
    pub environment: String,
    /// SHA-256 of `pixi.lock`.
    pub lock_file_digest: Digest,
    pub images: Vec<ImageReport>,
    /// The wheels that stand for locked sources.
    pub sources: Vec<SourceReport>,
    /// Package code that was run to make the image: builds of sources. Only what was asked for, and not what an earlier
    /// build had run already.
    pub executed: Vec<String>,
}

/// A wheel that stands for a locked source.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// `pypi:NAME`, or the conda name.
    pub package: String,
    /// The conda platform that it is for, as the lock file names it.
    pub conda_platform: String,
    pub wheel: String,
    pub sha256: String,
    pub origin: WheelSource,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageReport {
    /// `linux/amd64`
    pub platform: String,
    /// The conda platform as the lock file names it.
    pub conda_platform: String,
    pub manifest: Digest,
    pub config: Digest,
    pub base: Option<BaseReport>,
    /// Bottom first, the base's included.
    pub layers: Vec<LayerReport>,
    /// Wheels, in the order in which they are installed over one another.
    pub wheels: Vec<WheelReport>,
    /// Packages with a post-link script, which was not run.
    pub post_link_scripts: Vec<String>,
    /// What the packages need of the machine: the highest minimum of each virtual package, e.g. `__glibc >=2.28`.
    pub requires: Vec<String>,
    /// The same, with the packages that ask for it.
    pub needs: Vec<pixi_oci_project::Need>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WheelReport {
    /// The PEP 503 name.
    pub name: String,
    pub version: String,
    pub file_name: String,
    /// Of a locked wheel: its URL without credentials, or its path as the lock file has it.
    pub url: Option<String>,
    /// Of the file, as 64 hex digits.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the lock file has this sha256; else it is what was found.
    pub locked: bool,
    pub source: WheelSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WheelSource {
    /// The lock file names it.
    Lock,
    /// It was given in place of a source.
    Injected,
    Built,
    /// It was made of the workspace's own files, without running code; it belongs to the application layer.
    Own,
}

impl WheelSource {
    /// As reports and products have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Injected => "injected",
            Self::Built => "built",
            Self::Own => "own",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BaseReport {
    pub reference: String,
    /// Of the manifest that was used.
    pub digest: Digest,
    /// `2.39`, if it has one.
    pub glibc: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerReport {
    pub kind: LayerKind,
    /// Of the compressed blob.
    pub digest: Digest,
    pub diff_id: DiffId,
    /// Compressed bytes.
    pub size: u64,
    /// Of package layers: `NAME VERSION BUILD`, by name.
    pub packages: Vec<String>,
    /// Where its one package goes over several layers: which part of it this one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<LayerPart>,
    /// Of package layers: what other builds find it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<LayerOrigin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerOrigin {
    Made,
    Cache,
    /// A published image has it.
    Registry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerKind {
    /// Comes with the base image.
    Base,
    Packages,
    /// What is computed from several packages.
    Environment,
    /// Manifest, lock file and the chosen files.
    Application,
}
