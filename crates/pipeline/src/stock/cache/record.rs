//! What an image has to know of a layer that it does not make.

use std::collections::BTreeMap;

use pixi_oci_layer::{Compression, DiffId, Digest, Layer};
use pixi_oci_package::{Corrections, OutsideLink};
use serde::{Deserialize, Serialize};

use crate::layers::findings::Findings;

/// A layer and what its files say about the environment: a function of the layer's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Compressed length in bytes.
    pub size: u64,
    /// Of the tar.
    pub diff_id: DiffId,
    /// Length of the tar in bytes.
    pub tar_size: u64,
    /// The environment variables that its packages set, by file of `etc/conda/env_vars.d`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_vars_d: BTreeMap<String, Vec<u8>>,
    /// Links that point out of the prefix, with their package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_links: Vec<(String, OutsideLink)>,
    /// Program interpreters, each with one program that names it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interpreters: BTreeMap<String, String>,
    /// The packages whose own lists of files are wrong, with the digests that they do not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<(String, Corrections)>,
    /// Of the first part of a package that goes over several layers: how many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
}

impl LayerRecord {
    /// What is to be kept of a layer that was made.
    pub fn new(layer: &Layer, findings: &Findings) -> Self {
        Self {
            digest: layer.digest,
            size: layer.size,
            diff_id: layer.diff_id,
            tar_size: layer.tar_size,
            env_vars_d: findings.env_vars_d.clone(),
            outside_links: findings.outside_links.clone(),
            interpreters: findings.interpreters.clone(),
            corrections: findings.corrections.clone(),
            parts: findings.parts,
        }
    }

    /// The layer. Its compression is part of its key and not of the record.
    pub fn layer(&self, compression: Compression) -> Layer {
        Layer { digest: self.digest, size: self.size, diff_id: self.diff_id, tar_size: self.tar_size, compression }
    }

    /// What its files say about the environment.
    pub fn findings(&self) -> Findings {
        Findings {
            env_vars_d: self.env_vars_d.clone(),
            outside_links: self.outside_links.clone(),
            interpreters: self.interpreters.clone(),
            corrections: self.corrections.clone(),
            parts: self.parts,
        }
    }
}
