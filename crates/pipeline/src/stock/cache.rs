//! What a build keeps for the next one: layers by key, and facts of packages by archive.
//!
//! ```text
//! DIR/layers/2/records/ab/abcdef….json   by layer key: what an image has to know of the layer
//! DIR/layers/2/blobs/ab/abcdef…          by digest: the layer itself, hard-linked with the layouts that have it
//! DIR/facts/2/ab/abcdef….json            by the archive's sha256: which paths the package has
//! DIR/facts/2-published/…                the same as published images said it, whose layers were taken
//! ```
//!
//! Everything is checked when it is read ([`pixi_oci_cachedir`]). Whatever is missing or damaged is not there, and made
//! again; nothing in the cache can make a build fail, only slower. So a full disk or a read-only cache costs time and no
//! more.

mod facts;
mod layers;
mod record;

pub use facts::{FactsCache, wheel_key};
pub use layers::LayerCache;
pub use pixi_oci_formats::layer_table::KnownArchive;
pub use record::LayerRecord;
