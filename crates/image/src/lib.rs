//! Layers and settings to OCI documents: image configuration, image manifest, image index.
//!
//! Pure: no I/O, clock, environment or randomness. [`assemble`] makes one platform's [`Image`], [`Index::new`] joins
//! images; both serialise each document exactly **once**, as canonical JSON (keys sorted at every level, no white
//! space). From here on a document is bytes with a [`Descriptor`]; no later crate parses and writes it again, so a
//! digest cannot move.

#![warn(missing_docs)]

mod assemble;
mod descriptor;
mod error;
mod index;
mod json;
mod platform;
mod settings;
mod sif;
mod time;

pub use assemble::{AssembleInput, Image, OwnLayer, assemble};
pub use descriptor::{Descriptor, LayerEntry, layer_media_type};
pub use error::Error;
pub use index::{Index, index_document};
pub use json::canonical;
pub use oci_spec::image::MediaType;
pub use platform::{Architecture, Platform};
pub use settings::ImageSettings;
pub use sif::{SIF_CONFIG, sif_config, sif_index, sif_layer, sif_manifest};
pub use time::rfc3339;
