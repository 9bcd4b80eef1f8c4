//! What an image has to know of a layer that it does not make.

use pixi_oci_layer::{Compression, DiffId, Digest, Layer};
use serde::{Deserialize, Serialize};

use crate::stock::table::Findings;

/// A layer and what its files say about the environment: a function of the layer's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Compressed length in bytes.
    pub size: u64,
    pub diff_id: DiffId,
    #[serde(flatten)]
    pub findings: Findings,
}

impl LayerRecord {
    /// What is to be kept of a layer that was made.
    pub fn new(layer: &Layer, findings: &Findings) -> Self {
        let Layer { digest, size, diff_id, .. } = *layer;
        Self { digest, size, diff_id, findings: findings.clone() }
    }

    /// The layer. Its compression is part of its key and not of the record.
    pub fn layer(&self, compression: Compression) -> Layer {
        Layer {
            digest: self.digest,
            size: self.size,
            diff_id: self.diff_id,
            tar_size: self.findings.tar_size,
            compression,
        }
    }
}
