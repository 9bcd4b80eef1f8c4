//! Why a product cannot be made or used.

use std::{io, path::PathBuf};

use pixi_oci_layer::{Digest, PathError};
use pixi_oci_platform::{FileError, cannot};

/// Every error names the file or package.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Package(#[from] pixi_oci_package::Error),
    #[error("{name:?} cannot be a file of the product")]
    Path { name: String, source: PathError },
    #[error("a product cannot have {path}: {reason}")]
    Refused { path: String, reason: String },
    #[error(
        "two environments want different files for {path}; make a product of each, or lock the same package for both"
    )]
    Twice { path: String },
    #[error("{} is not a program for {platform}: {reason}; give the pixi-oci of that platform with --installer {platform}=FILE", path.display())]
    NotAProgram { path: PathBuf, platform: String, reason: String },
    #[error("{} is not a product: it has no manifest.json; `pixi-oci product --workdir DIR` makes one in DIR/product", path.display())]
    NoProduct { path: PathBuf },
    #[error("{} is not the manifest of a product that this version understands: {reason}", path.display())]
    Manifest { path: PathBuf, reason: String },
    #[error("{} has the digest {actual}, but manifest.json says {expected}; the product is damaged or was changed", path.display())]
    Changed { path: PathBuf, actual: Digest, expected: Digest },
    #[error("{} is there and is not an environment; choose another --prefix or remove it", path.display())]
    InTheWay { path: PathBuf },
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let failure = cannot(action, path);
        move |source| Self::Io(failure(source))
    }
}
