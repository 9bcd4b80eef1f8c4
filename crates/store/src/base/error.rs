//! Why a base image cannot be used.

use pixi_oci_image::Architecture;
use pixi_oci_layer::{DiffId, Digest};

#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error("{text:?} is not a base image: {reason}")]
    Reference {
        /// What was given, without credentials.
        text: String,
        reason: String,
    },
    #[error("cannot use base image {reference}")]
    Unusable { reference: String, source: Box<Problem> },
}

/// What is wrong with a base image, or with the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read or written, bytes are not those that a descriptor names, or a document is malformed.
    #[error(transparent)]
    Data(#[from] crate::Error),
    #[error("the layout has no such image, or not only one; it has {names}")]
    NoSuchImage { names: String },
    #[error("it is not there for linux/{wanted}; it is there for {available}")]
    NoArchitecture { wanted: Architecture, available: String },
    #[error("layer {layer} unpacks to {found}, but the image configuration says {expected}")]
    DiffId { layer: Digest, expected: DiffId, found: DiffId },
    #[error("layer {layer} cannot be read as a layer")]
    Layer { layer: Digest, source: std::io::Error },
    #[error(
        "it is not in the cache, and nothing may be downloaded; build once without --offline, or name a local image with oci:DIR"
    )]
    Offline,
    #[error(
        "cannot get {what} from the registry; without one, name an image of this machine with oci:DIR or docker-archive:FILE"
    )]
    Registry { what: String, source: Box<pixi_oci_registry::Error> },
    #[error(
        "cannot ask the registry what {name} is now; --offline takes what it was the last time, which is in the cache"
    )]
    Known { name: String, source: Box<pixi_oci_registry::Error> },
    #[error("it has no directory {path}")]
    NoDirectory { path: String },
    #[error("its file {path} is a hard link to a file that is not there")]
    NoContent { path: String },
    #[error(
        "its directory {path} has more than a million files, or more than 64 GiB; name the project's own directory"
    )]
    TooMuch { path: String },
    #[error(
        "it is read by skopeo, which is not installed; install it (apt install skopeo), or use docker://REFERENCE or oci:DIR"
    )]
    NoSkopeo,
    #[error("skopeo failed ({status}): {output}")]
    Skopeo { status: std::process::ExitStatus, output: String },
    #[error("skopeo cannot give {what}: {said}")]
    Proxy { what: String, said: String },
    /// Neither we nor skopeo decide that.
    #[error(
        "this machine's policy for images refuses it: {said}; see `man containers-policy.json` for what /etc/containers/policy.json or ~/.config/containers/policy.json asks for"
    )]
    Policy { said: String },
}

impl Problem {
    pub(crate) fn of(self, reference: impl ToString) -> BaseError {
        BaseError::Unusable { reference: reference.to_string(), source: Box::new(self) }
    }

    pub(crate) fn document(what: impl ToString, kind: &'static str, reason: impl ToString) -> Self {
        Self::Data(crate::Error::Document { what: what.to_string(), kind, reason: reason.to_string() })
    }
}
