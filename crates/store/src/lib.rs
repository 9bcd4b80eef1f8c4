//! Puts an image index into a file format of this machine, and gets base images from somewhere.
//!
//! A [`Destination`] holds blobs, manifests and names: an [`OciLayout`], or an archive or SIF files that a [`DestinationRef`]
//! opens. [`publish`] is the order in which an image arrives at any of them.
//! [`base`] obtains base images; [`pull`] copies an image from a registry into a layout; [`read_stored`] reads a layout back.

mod archive;
pub mod base;
mod destination;
mod docker_archive;
mod error;
mod image_name;
mod layout_index;
mod oci_archive;
mod oci_layout;
mod pull;
mod sif_files;
mod stored;
mod target;

pub use destination::{Destination, publish};
pub use error::Error;
pub use oci_layout::OciLayout;
pub use pixi_oci_registry::BlobSource;
pub use pixi_oci_sif::RunCache;
pub use pull::{PullError, pull};
pub use sif_files::SifFile;
pub use stored::{StoredError, StoredImage, StoredImages, platform_in, read_stored};
pub use target::{DestinationRef, ParseDestinationError, Transport};

#[cfg(test)]
mod tests;
