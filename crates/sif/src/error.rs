//! Why an image cannot be written as a SIF.

use std::io;

use oci_read::tree::TreeError;
use pixi_oci_layer::Digest;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image's configuration cannot be used: {0}")]
    Config(String),
    #[error("cannot use layer {layer}")]
    Layer { layer: Digest, source: io::Error },
    #[error("the image's layers cannot be put on top of one another")]
    Tree(#[from] TreeError),
    #[error("{path:?} is a hard link to {target:?}, which is no file of the image")]
    Link { path: String, target: String },
    #[error("a path has more than {0} directories")]
    Depth(usize),
    #[error("cannot write the file system")]
    Squashfs(#[from] pixi_oci_squashfs::Error),
    #[error("cannot write the file")]
    Io(#[from] io::Error),
}

/// Text of a tar for an error.
pub(crate) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}
