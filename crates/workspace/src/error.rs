//! Why a workspace's files cannot be used.

use std::{io, path::PathBuf};

use crate::toml::{ManifestError, listed, meant};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace manifest is not valid TOML, or says something that cannot be meant.
    #[error(transparent)]
    Manifest(Box<ManifestError>),

    #[error("no Pixi workspace at {}: {message}", path.display())]
    NoWorkspace { path: PathBuf, message: String },

    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("{} is bigger than {limit} bytes, too big for a workspace manifest or lock file", path.display())]
    TooBig { path: PathBuf, limit: u64 },

    #[error("{} is not the file itself but a Git LFS pointer; run `git lfs pull`", path.display())]
    LfsPointer { path: PathBuf },

    #[error("{} has no environment `{name}`; {}{}", path.display(), meant(name, known), listed("it has", known))]
    UnknownEnvironment { path: PathBuf, name: String, known: Vec<String> },

    #[error("{}: environment `{environment}`: {message}", path.display())]
    Environment { path: PathBuf, environment: String, message: String },

    #[error(
        "task `{task}` of environment `{environment}` {message}; write the command as `cmd = [\"program\", \"argument\"]` in [tool.pixi-oci] instead"
    )]
    Task { task: String, environment: String, message: String },

    #[error("`{text}` is not a virtual package: {message}")]
    VirtualPackage { text: String, message: String },
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(Box::new(error))
    }
}
