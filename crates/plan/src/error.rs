//! Why a build or plan fails.

use pixi_oci_platform::FileError;
use pixi_oci_sources::SourceError;
use pixi_oci_workspace::ManifestError;

/// Every error names the thing and the reason; most say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Pipeline(pixi_oci_pipeline::Error),
    #[error(transparent)]
    Product(#[from] pixi_oci_product::Error),
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Error {
    /// A mistake in the manifest, which can be shown with its line.
    pub fn manifest(&self) -> Option<&ManifestError> {
        match self {
            Self::Pipeline(pixi_oci_pipeline::Error::Project(error)) => error.manifest(),
            _ => None,
        }
    }
}

impl From<pixi_oci_pipeline::Error> for Error {
    fn from(error: pixi_oci_pipeline::Error) -> Self {
        match error {
            pixi_oci_pipeline::Error::Interrupted => Self::Interrupted,
            pixi_oci_pipeline::Error::Io(error) => Self::Io(error),
            error => Self::Pipeline(error),
        }
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Interrupted => Self::Interrupted,
            SourceError::Pipeline(error) => Self::from(*error),
            error => Self::Source(Box::new(error)),
        }
    }
}

pixi_oci_pipeline::from_below!(
    Error, by pixi_oci_pipeline::Error:
    pixi_oci_contents::ActivationError,
    pixi_oci_contents::ApplicationError,
    pixi_oci_fetch::Error,
    pixi_oci_image::Error,
    pixi_oci_layer::Error,
    pixi_oci_lock::Error,
    pixi_oci_package::Error,
    pixi_oci_package::PrefixError,
    pixi_oci_pipeline::TooFewLayers,
    pixi_oci_project::Error,
    pixi_oci_project::RequestError,
    pixi_oci_store::Error,
    pixi_oci_store::ParseDestinationError,
    pixi_oci_store::base::BaseError,
    pixi_oci_workspace::Error,
);

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(
        "{reference} is in a registry, which cannot be asked offline; leave out --offline, or compare with oci:DIR"
    )]
    Offline { reference: String },
    #[error("cannot compare with {reference}")]
    Registry { reference: String, source: Box<pixi_oci_registry::Error> },
    #[error(transparent)]
    Stored(#[from] pixi_oci_store::StoredError),
    #[error("{} configures no `repositories`, in which what is published could be looked for; name an image, docker://HOST/REPOSITORY[:TAG]", workspace.display())]
    NoRepository { workspace: std::path::PathBuf },
    #[error(
        "the share has {layers} layers, and an image that keeps them has {most} at most; divide them into more shards"
    )]
    ShareTooLarge { layers: usize, most: usize },
    #[error("--since: {source}")]
    Reference { source: pixi_oci_registry::ParseRepositoryError },
    #[error(
        "{reference} was not made by pixi-oci, or by a version that did not note what is in which layer; it cannot be compared with"
    )]
    NotOurs { reference: String },
}
