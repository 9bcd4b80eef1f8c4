//! Why a workspace's files cannot be used.

use std::{io, path::PathBuf};

use crate::toml::{ManifestError, listed, meant};

/// Why a workspace's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace manifest is not valid TOML, or says something that cannot be meant.
    #[error(transparent)]
    Manifest(Box<ManifestError>),

    /// There is no workspace where one was expected.
    #[error("no Pixi workspace at {}: {message}", path.display())]
    NoWorkspace {
        /// The directory or file that was given.
        path: PathBuf,
        /// What was looked for, and what to do.
        message: String,
    },

    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A document is bigger than any honest one.
    #[error("{} is bigger than {limit} bytes, too big for a workspace manifest or lock file", path.display())]
    TooBig {
        /// The document.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },

    /// Git LFS keeps the file elsewhere.
    #[error("{} is not the file itself but a Git LFS pointer; run `git lfs pull`", path.display())]
    LfsPointer {
        /// The pointer.
        path: PathBuf,
    },

    /// An environment that neither manifest nor lock file has.
    #[error("{} has no environment `{name}`; {}{}", path.display(), meant(name, known), listed("it has", known))]
    UnknownEnvironment {
        /// The manifest or lock file.
        path: PathBuf,
        /// The environment that was asked for.
        name: String,
        /// The environments there are, sorted.
        known: Vec<String>,
    },

    /// The features of an environment do not go together.
    #[error("{}: environment `{environment}`: {message}", path.display())]
    Environment {
        /// The manifest.
        path: PathBuf,
        /// The environment or solve group.
        environment: String,
        /// What contradicts what.
        message: String,
    },

    /// A task that cannot become an image's command.
    #[error(
        "task `{task}` of environment `{environment}` {message}; write the command as `cmd = [\"program\", \"argument\"]` in [tool.pixi-oci] instead"
    )]
    Task {
        /// The task.
        task: String,
        /// The environment it was looked up in.
        environment: String,
        /// Why it cannot be used.
        message: String,
    },

    /// Text that is not a virtual package.
    #[error("`{text}` is not a virtual package: {message}")]
    VirtualPackage {
        /// The text.
        text: String,
        /// What is wrong, with an example.
        message: String,
    },
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(Box::new(error))
    }
}
