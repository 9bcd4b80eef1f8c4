//! Puts an image index into a file format of this machine, and gets base images from somewhere.
//!
//! A [`Destination`] holds blobs, manifests and names: an [`OciLayout`], an [`OciArchive`], a [`DockerArchive`],
//! [`SifFiles`].
//! [`publish`] is the order in which an image arrives at any of them. [`DestinationRef`] is the text that names one.
//! [`base`] obtains base images; [`pull`] copies an image from a registry into a layout; [`read_stored`] reads a layout back.

mod archive;
pub mod base;
mod destination;
mod docker_archive;
mod error;
mod layout_index;
mod oci_archive;
mod oci_layout;
mod pull;
mod sif_files;
mod stored;
mod target;

pub use destination::{BlobSource, Destination, Published, publish};
pub use docker_archive::DockerArchive;
pub use error::Error;
pub use oci_archive::OciArchive;
pub use oci_layout::{OciLayout, StagedBlob};
pub use pixi_oci_sif::RunCache;
pub use pull::{PullError, pull};
pub use sif_files::{SifFile, SifFiles};
pub use stored::{StoredError, StoredImage, StoredImages, platform_in, read_stored};
pub use target::{DestinationRef, ParseDestinationError};

#[cfg(test)]
mod tests;
