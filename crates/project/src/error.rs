//! Why a project cannot be opened.

use pixi_oci_platform::FileError;
use pixi_oci_workspace::ManifestError;

use crate::{RequestError, Stale};

/// Every error names the thing and the reason; most say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Workspace(#[from] pixi_oci_workspace::Error),
    #[error(transparent)]
    LockFile(pixi_oci_lock::Error),
    #[error(transparent)]
    Lock(#[from] pixi_oci_lock::LockError),
    #[error(transparent)]
    Fetch(#[from] pixi_oci_fetch::Error),
    #[error(transparent)]
    Net(#[from] pixi_oci_net::Error),
    #[error(transparent)]
    Stale(#[from] Box<Stale>),
    #[error(transparent)]
    Prefix(#[from] pixi_oci_package::PrefixError),
    #[error(transparent)]
    Base(#[from] pixi_oci_store::base::BaseError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(
        "the image was made on another base image ({made_on}) than the workspace has now ({configured}); say that one with `--base`"
    )]
    OtherBase { made_on: String, configured: String },
    #[error(transparent)]
    VirtualPackage(#[from] Box<crate::target::virtual_packages::TooOld>),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] FileError),
}

impl From<pixi_oci_lock::Error> for Error {
    fn from(error: pixi_oci_lock::Error) -> Self {
        match error {
            pixi_oci_lock::Error::Workspace(error) => Self::Workspace(error),
            error => Self::LockFile(error),
        }
    }
}

impl Error {
    /// A mistake in the manifest, which can be shown with its line.
    pub fn manifest(&self) -> Option<&ManifestError> {
        match self {
            Self::Workspace(pixi_oci_workspace::Error::Manifest(error)) => Some(error),
            _ => None,
        }
    }
}
