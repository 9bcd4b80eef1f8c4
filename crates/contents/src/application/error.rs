//! Why the application layer cannot be made.

use std::path::PathBuf;

use pixi_oci_layer::{PathError, TreeError};

/// Why the application layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// `include` names something that is not there.
    #[error("include {include:?}: nothing in {root} matches it")]
    NoMatch {
        /// As configured.
        include: String,
        /// The workspace's root.
        root: PathBuf,
    },
    /// `include` or a script leaves the workspace.
    #[error("{path:?} is outside of the workspace; only files of the workspace can be put into an image")]
    Outside {
        /// As configured.
        path: String,
    },
    /// A pattern that cannot be understood.
    #[error("{pattern:?} is not a pattern of paths")]
    Pattern {
        /// As configured.
        pattern: String,
        /// Why.
        source: globset::Error,
    },
    /// A destination that no file can have.
    #[error("{destination:?} is no place in an image")]
    Destination {
        /// As configured.
        destination: String,
        /// Why.
        source: PathError,
    },
    /// Two files for one place.
    #[error("two files would have the same place in the image; change a destination in `include`")]
    Tree(#[from] TreeError),
    /// A file whose content is a secret.
    #[error(
        "{path} holds a secret: {rule}; leave it out with `exclude`, or name this very file in `include` if it is meant to be public"
    )]
    Secret {
        /// The file.
        path: PathBuf,
        /// The rule that found it.
        rule: &'static str,
    },
    /// Neither file, directory nor link.
    #[error("{path} is neither a file, a directory nor a link")]
    Special {
        /// What it is.
        path: PathBuf,
    },
    /// The workspace cannot be read.
    #[error("cannot read the workspace")]
    Read(#[from] std::io::Error),
    /// An ignore file or directory that cannot be read.
    #[error("cannot walk through the workspace")]
    Walk(#[from] ignore::Error),
}
