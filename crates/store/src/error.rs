//! Why an image could not be put somewhere.

use std::{
    io,
    path::{Path, PathBuf},
};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_platform::{FileError, cannot};

/// Why an image could not be put at its destination. The destination then still has what it had before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] FileError),
    #[error("{what} should be {expected} with {expected_size} bytes, but {found}")]
    Content { what: String, expected: Digest, expected_size: u64, found: String },
    #[error("blob {digest} is not at the destination, and there is no local file of it")]
    NoSource { digest: Digest },
    /// A manifest names a blob that is not there, so that it cannot become visible.
    #[error("{manifest} names {blob} ({size} bytes), which is not in {destination}")]
    MissingBlob { manifest: Digest, blob: Digest, size: u64, destination: String },
    #[error("{what} is not {kind}: {reason}")]
    Document { what: String, kind: &'static str, reason: String },
    /// The directory has other things in it. Nothing was written.
    #[error(
        "{} is neither empty nor an OCI layout (it has no file `oci-layout`); give a new or an empty directory",
        path.display()
    )]
    NotALayout { path: PathBuf },
    /// The name cannot be a tag of this kind of destination.
    #[error("{name:?} cannot be the name of an image in {destination}: {reason}")]
    Name { name: String, destination: &'static str, reason: &'static str },
    #[error("cannot write {}", path.display())]
    Sif { path: PathBuf, source: pixi_oci_sif::Error },
    #[error(
        "{} is a docker-archive, which holds one image, but {count} were built; build one architecture, or use oci-archive:",
        path.display()
    )]
    OneImage { path: PathBuf, count: usize },
}

impl From<pixi_oci_registry::document::DocumentError> for Error {
    fn from(error: pixi_oci_registry::document::DocumentError) -> Self {
        let kind = "an image manifest or image index";
        Self::Document { what: error.digest.to_string(), kind, reason: error.reason }
    }
}

impl Error {
    pub(crate) fn missing(manifest: &Descriptor, blob: &Descriptor, destination: &Path) -> Self {
        let destination = destination.display().to_string();
        Self::MissingBlob { manifest: manifest.digest, blob: blob.digest, size: blob.size, destination }
    }

    /// For `map_err`: gives an I/O error its action and path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let failure = cannot(action, path);
        move |source| Self::Io(failure(source))
    }
}
