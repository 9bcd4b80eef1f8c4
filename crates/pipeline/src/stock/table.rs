//! What an image says of its package layers, so that a machine that has none of their packages can decide about them.
//!
//! The environment layer has it as a JSON file. It is a function of the packages: the same whether a layer was made now,
//! is from the cache or from a registry.

use std::collections::BTreeMap;

use pixi_oci_layer::DiffId;
use pixi_oci_package::{CompleteFacts, Corrections, OutsideLink, WheelFacts};
use serde::{Deserialize, Serialize};

use crate::{layers::findings::Findings, stock::cache::Known, stock::cache::LayerRecord};

/// Where it is in the image.
pub const PLACE: &str = "/opt/pixi/layers.json";
/// Raised when the form changes: then nothing is taken from images of before.
const VERSION: u32 = 1;

/// The package layers of an image, and what is known of their packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerTable {
    version: u32,
    /// Bottom first.
    pub layers: Vec<TableLayer>,
    /// Conda packages, by the sha256 of the archive.
    pub conda: BTreeMap<String, Known<CompleteFacts>>,
    /// Wheels, by [`wheel_key`](crate::stock::cache::wheel_key).
    pub wheels: BTreeMap<String, Known<WheelFacts>>,
}

/// What an image has to know of a package layer, and its manifest and configuration do not say. Nothing of it depends on
/// the compressor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableLayer {
    tar_size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env_vars_d: BTreeMap<String, Vec<u8>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outside_links: Vec<(String, OutsideLink)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    interpreters: BTreeMap<String, String>,
    /// The packages whose own lists of files are wrong, with the digests that they do not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    corrections: Vec<(String, Corrections)>,
}

impl LayerTable {
    /// A table of layers and packages.
    pub fn new(
        layers: Vec<TableLayer>,
        conda: BTreeMap<String, Known<CompleteFacts>>,
        wheels: BTreeMap<String, Known<WheelFacts>>,
    ) -> Self {
        Self { version: VERSION, layers, conda, wheels }
    }

    /// The table in the bytes of the file; `None` for those of another version, and for what is no table.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|table: &Self| table.version == VERSION)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // It has nothing that cannot be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl TableLayer {
    /// Describes a layer.
    pub fn new(tar_size: u64, findings: &Findings) -> Self {
        Self {
            tar_size,
            env_vars_d: findings.env_vars_d.clone(),
            outside_links: findings.outside_links.clone(),
            interpreters: findings.interpreters.clone(),
            corrections: findings.corrections.clone(),
        }
    }

    /// The record of the layer whose descriptor and diff id an image has.
    pub fn record(&self, digest: pixi_oci_layer::Digest, size: u64, diff_id: DiffId) -> LayerRecord {
        LayerRecord {
            digest,
            size,
            diff_id,
            tar_size: self.tar_size,
            env_vars_d: self.env_vars_d.clone(),
            outside_links: self.outside_links.clone(),
            interpreters: self.interpreters.clone(),
            corrections: self.corrections.clone(),
        }
    }
}
