//! What an image says of its package layers, with what this crate knows of packages.

use pixi_oci_formats::layer_table;
use pixi_oci_package::{CompleteFacts, Corrections, OutsideLink, WheelFacts};

/// The package layers of an image, and what is known of their packages. Wheels are found by
/// [`wheel_key`](crate::stock::cache::wheel_key).
pub type LayerTable = layer_table::LayerTable<CompleteFacts, WheelFacts, OutsideLink, Corrections>;

/// What the files of packages say about the environment as a whole: those of a layer, or all together.
pub type Findings = layer_table::TableLayer<OutsideLink, Corrections>;
