//! Why a workspace cannot be locked.

use std::{io, path::PathBuf};

use crate::{Error, solve::SolveError};

/// Why there is no new lock file. The present one, if any, is untouched.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The manifest or the present lock file.
    #[error(transparent)]
    Inputs(#[from] Error),

    #[error("cannot lock environment `{environment}` for {platform}")]
    Solve {
        /// The environment, or the solve group with its environments.
        environment: String,
        platform: String,
        source: Box<SolveError>,
    },

    /// A conda package that has to be built to know what it needs.
    #[error(
        "environment `{environment}` requires {packages} from source, which only pixi can lock; run `pixi lock`",
        packages = packages.join(", ")
    )]
    CondaSource { environment: String, packages: Vec<String> },

    /// Python packages, which need another solver.
    #[error(
        "environment `{environment}` requires Python packages ({packages}), which only pixi can lock; run `pixi lock`",
        packages = packages.join(", ")
    )]
    Pypi { environment: String, packages: Vec<String> },

    #[error("`{platform}` is not a conda platform; write one such as linux-64 or linux-aarch64")]
    UnknownPlatform { platform: String },

    #[error("cannot make a lock file: {message}")]
    Document { message: String },

    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl LockError {
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Solve { source, .. } => matches!(**source, SolveError::Interrupted),
            _ => false,
        }
    }
}

impl From<pixi_oci_workspace::Error> for LockError {
    fn from(error: pixi_oci_workspace::Error) -> Self {
        Self::Inputs(error.into())
    }
}
