//! Why a plan cannot be compared with an image.

/// Each names the image.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is in a registry, and none may be asked.
    #[error(
        "{reference} is in a registry, which cannot be asked offline; leave out --offline, or compare with oci:DIR"
    )]
    Offline {
        /// The image.
        reference: String,
    },
    /// The registry does not give it.
    #[error("cannot compare with {reference}")]
    Registry {
        /// The image.
        reference: String,
        /// Why not.
        source: Box<pixi_oci_registry::Error>,
    },
    /// It is not whole in its layout.
    #[error(transparent)]
    Stored(#[from] pixi_oci_store::StoredError),
    /// Nobody knows where it is published.
    #[error("{} configures no `repositories`, in which what is published could be looked for; name an image, docker://HOST/REPOSITORY[:TAG]", workspace.display())]
    NoRepository {
        /// The workspace.
        workspace: std::path::PathBuf,
    },
    /// A tag that is none.
    #[error("--since: {source}")]
    Reference {
        /// Why.
        source: pixi_oci_registry::ParseRepositoryError,
    },
    /// What is published to.
    #[error(transparent)]
    Publish(Box<crate::PublishError>),
    /// Somebody else made it.
    #[error(
        "{reference} was not made by pixi-oci, or by a version that did not note what is in which layer; it cannot be compared with"
    )]
    NotOurs {
        /// The image.
        reference: String,
    },
}
