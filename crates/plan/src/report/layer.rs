//! What a plan reports of layers and the packages in them.

use pixi_oci_layer::Digest;
use pixi_oci_pipeline::LayerPart;
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedLayerReport {
    /// Where its one package goes over several layers: which part of it this one has, of how many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<LayerPart>,
    /// The sum of the archives' lengths in bytes, as far as they are known; of a part its share.
    pub bytes: u64,
    /// What the layer is found by, if it is known.
    pub key: Option<String>,
    pub state: LayerState,
    /// Of the layer's blob, if it is known.
    pub digest: Option<Digest>,
    /// The blob's length in bytes, if it is known.
    pub size: Option<u64>,
    /// Where the key is not known: what it is if the packages whose contents are not known have no path of these, and
    /// no link above one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<LikelyLayer>,
    /// By name.
    pub packages: Vec<PackagePlan>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LikelyLayer {
    pub key: String,
    pub state: LayerState,
    /// Of the layer's blob, if there is one.
    pub digest: Option<Digest>,
    /// The blob's length in bytes, if there is one.
    pub size: Option<u64>,
}

/// Whether a layer has to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerState {
    /// An earlier build on this machine made it.
    Cached,
    /// A published image has it.
    Registry,
    ToBuild,
    /// Its key is not known.
    Unknown,
}

/// A layer that is not of packages.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherLayer {
    pub kind: pixi_oci_pipeline::LayerKind,
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackagePlan {
    /// The conda name, or `pypi:` and the normalised name.
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The archive's length, if it is known.
    pub size: Option<u64>,
    /// The archive's sha256, if it is known.
    pub sha256: Option<String>,
}
