//! What an image says of its package layers, with what this crate knows of packages.

use pixi_oci_formats::layer_table;
use pixi_oci_layer::{DiffId, Digest};
use pixi_oci_package::{CompleteFacts, Corrections, OutsideLink, WheelFacts};

use crate::{layers::findings::Findings, stock::cache::LayerRecord};

pub use pixi_oci_formats::layer_table::PLACE;

/// The package layers of an image, and what is known of their packages. Wheels are found by
/// [`wheel_key`](crate::stock::cache::wheel_key).
pub type LayerTable = layer_table::LayerTable<CompleteFacts, WheelFacts, OutsideLink, Corrections>;

/// A package layer.
pub type TableLayer = layer_table::TableLayer<OutsideLink, Corrections>;

/// Describes a layer.
pub fn table_layer(tar_size: u64, findings: &Findings) -> TableLayer {
    TableLayer {
        tar_size,
        env_vars_d: findings.env_vars_d.clone(),
        outside_links: findings.outside_links.clone(),
        interpreters: findings.interpreters.clone(),
        corrections: findings.corrections.clone(),
        parts: findings.parts,
    }
}

/// The record of the layer whose descriptor and diff id an image has.
pub fn record(layer: &TableLayer, digest: Digest, size: u64, diff_id: DiffId) -> LayerRecord {
    let TableLayer { tar_size, env_vars_d, outside_links, interpreters, corrections, parts } = layer.clone();
    LayerRecord { digest, size, diff_id, tar_size, env_vars_d, outside_links, interpreters, corrections, parts }
}
