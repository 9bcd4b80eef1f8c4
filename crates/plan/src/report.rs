//! The answer, for people and machines.

pub mod layer;
pub mod matrix;

use pixi_oci_layer::Digest;
use serde::Serialize;

use crate::{
    blobs::DestinationPlan,
    changes::Changes,
    report::layer::{OtherLayer, PlannedLayerReport},
};
use pixi_oci_pipeline::BaseReport;
use pixi_oci_project::Need;

/// One environment: what `pixi-oci build` would make of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentPlan {
    pub environment: String,
    /// Of the image index that a build makes now, if that is known before.
    pub digest: Option<Digest>,
    /// Why not; empty where there is a digest.
    pub unpredicted: Vec<Unpredicted>,
    /// The image that the platforms' `changes` are since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstImage>,
    pub download: DownloadPlan,
    /// What a publication would send, to each repository that was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<DestinationPlan>,
    /// The platforms, by name.
    pub platforms: Vec<Plan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgainstImage {
    /// As it was named.
    pub reference: String,
    /// Of the image index, or of the image where there is no index.
    pub digest: Digest,
}

/// Why the digest of an image is not known before it is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unpredicted {
    pub reason: Reason,
    /// In words, with what to do.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    UnknownPackages,
    /// Packages are locked as sources that have to be built first.
    Sources,
    /// Conda packages are locked without a sha256.
    NoHash,
    LayersToBuild,
    /// The base image is named by a tag, which may move.
    BaseNotPinned,
    BaseNotHere,
    /// Two platforms of one architecture, which no index holds.
    SeveralOfOneArchitecture,
    NoImage,
    BuildFails,
}

/// What a build downloads: archives that it needs and this machine does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadPlan {
    /// How many archives, each counted once for all platforms.
    pub archives: usize,
    /// The sum of their lengths in bytes, as far as the lock file has them.
    pub bytes: u64,
    /// The same if all layers that are not known have to be made; equal to `bytes` where all are known.
    pub at_most_bytes: u64,
    /// Their packages, by name.
    pub packages: Vec<String>,
    /// Layers that `build` fetches from the registry of `--cache-from`. `publish` leaves them there.
    pub layers: usize,
    /// The sum of their lengths in bytes.
    pub layer_bytes: u64,
}

/// One environment on one platform.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub platform: String,
    pub subdir: String,
    /// `linux/amd64`; none for platforms that no image can be made for.
    pub oci_platform: Option<String>,
    /// Of the image manifest that a build makes now, if that is known before.
    pub manifest: Option<Digest>,
    /// The base image, if it is on this machine.
    pub base: Option<BaseReport>,
    pub packages: usize,
    /// The sum of the archives' lengths in bytes, as far as they are known.
    pub bytes: u64,
    /// Packages whose length nobody knows: wheels, of which the lock file does not have it. Their layers can differ from
    /// what is shown.
    pub unknown_sizes: Vec<String>,
    /// Packages whose contents are not known. As long as there are any, no layer key is known.
    pub unknown_packages: Vec<String>,
    /// Packages of which servers said what is in them, which is compared with their archives by a build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unverified_packages: Vec<String>,
    /// Packages that would have to be built from source, and are in no layer here.
    pub sources: Vec<String>,
    /// What the packages need of the machine: the highest minimum of each virtual package, e.g. `__glibc >=2.28`.
    pub requires: Vec<String>,
    /// The same, with the packages that ask for it.
    pub needs: Vec<Need>,
    pub layers: Vec<PlannedLayerReport>,
    /// The environment and application layers, which are above them and made by every build; where the image is known.
    pub other_layers: Vec<OtherLayer>,
    /// What is different from the image that is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}
