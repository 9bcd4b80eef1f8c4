//! Why a product cannot be made or installed.

use std::{io, path::PathBuf};

/// Every error names the thing and the reason; most say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Opening the projects, packages, or building sources.
    #[error(transparent)]
    Plan(#[from] pixi_oci_plan::Error),
    #[error(transparent)]
    Product(#[from] pixi_oci_product::Error),
    #[error(transparent)]
    Request(#[from] crate::ProductRequestError),
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

macro_rules! from_plan {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Plan(pixi_oci_pipeline::Error::from(error).into())
            }
        }
    )*};
}

from_plan!(
    pixi_oci_fetch::Error,
    pixi_oci_lock::Error,
    pixi_oci_package::Error,
    pixi_oci_package::PrefixError,
    pixi_oci_contents::ApplicationError,
    pixi_oci_pipeline::Error,
    pixi_oci_project::Error,
    pixi_oci_store::Error,
    pixi_oci_workspace::Error,
);

impl From<pixi_oci_sources::SourceError> for Error {
    fn from(error: pixi_oci_sources::SourceError) -> Self {
        Self::Plan(error.into())
    }
}
