//! Puts an image index somewhere, and gets base images from somewhere.
//!
//! A [`Destination`] holds blobs, manifests and names: an [`OciLayout`], an [`OciArchive`], a [`DockerArchive`].
//! [`publish`] is the order in which an image arrives at any of them. [`DestinationRef`] is the text that names one.
//! [`load`] hands an archive to podman or docker. [`base`] obtains base images.

mod archive;
pub mod base;
mod container;
mod destination;
mod docker_archive;
mod error;
mod layout_index;
mod load;
mod oci_archive;
mod oci_layout;
mod pull;
pub mod push;
mod references;
pub mod registry;
mod staging;
mod stored;
pub mod tags;
mod target;

pub use container::{ContainerError, take_from_container};
pub use destination::{BlobSource, Destination, Published, publish};
pub use docker_archive::DockerArchive;
pub use error::Error;
pub use load::{find_container_engine, load};
pub use oci_archive::OciArchive;
pub use oci_layout::{OciLayout, StagedBlob};
pub use pull::{PullError, pull};
pub use stored::{StoredError, StoredImage, StoredImages, platform_in, read_stored};
pub use target::{DestinationRef, ParseDestinationError};

#[cfg(test)]
mod tests;
