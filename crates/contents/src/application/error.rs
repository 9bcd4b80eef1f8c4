//! Why the application layer cannot be made.

use std::path::PathBuf;

use pixi_oci_layer::{PathError, TreeError};

#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    #[error("include {include:?}: nothing in {root} matches it")]
    NoMatch { include: String, root: PathBuf },
    #[error("{path:?} is outside of the workspace; only files of the workspace can be put into an image")]
    Outside { path: String },
    #[error("{pattern:?} is not a pattern of paths")]
    Pattern { pattern: String, source: globset::Error },
    #[error("{destination:?} is no place in an image")]
    Destination { destination: String, source: PathError },
    #[error("two files would have the same place in the image; change a destination in `include`")]
    Tree(#[from] TreeError),
    #[error(
        "{path} holds a secret: {rule}; leave it out with `exclude`, or name this very file in `include` if it is meant to be public"
    )]
    Secret { path: PathBuf, rule: &'static str },
    #[error("{path} is neither a file, a directory nor a link")]
    Special { path: PathBuf },
    #[error("{}:{line}: {pattern:?} is not a pattern of an ignore file of Docker", path.display())]
    DockerIgnore { path: PathBuf, line: usize, pattern: String },
    #[error(
        "{path} cannot be put into the image: {other} is {what}; choose another destination in `include` or `directories`"
    )]
    InTheWay { path: String, other: String, what: &'static str },
    #[error("cannot read the workspace")]
    Read(#[from] std::io::Error),
    #[error("cannot walk through the workspace")]
    Walk(#[from] ignore::Error),
}
