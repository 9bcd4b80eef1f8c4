//! Why an image cannot be written as a SIF.

use std::io;

use oci_read::tree::TreeError;
use pixi_oci_layer::Digest;

/// Why an image cannot be written as a SIF.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it starts with, or runs on, cannot be understood.
    #[error("the image's configuration cannot be used: {0}")]
    Config(String),
    /// A layer cannot be read.
    #[error("cannot use layer {layer}")]
    Layer { layer: Digest, source: io::Error },
    /// The layers make no tree.
    #[error("the image's layers cannot be put on top of one another")]
    Tree(#[from] TreeError),
    /// A hard link to what is not there, or to a directory.
    #[error("{path:?} is a hard link to {target:?}, which is no file of the image")]
    Link { path: String, target: String },
    /// Directories in directories.
    #[error("a path has more than {0} directories")]
    Depth(usize),
    /// The file system.
    #[error("cannot write the file system")]
    Squashfs(#[from] pixi_oci_squashfs::Error),
    #[error("cannot write the file")]
    Io(#[from] io::Error),
}

/// Text of a tar for an error.
pub(crate) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}
