//! Why a workspace cannot be locked.

use std::{io, path::PathBuf};

use crate::{Error, SolveError};

/// Why there is no new lock file. The present one, if any, is untouched.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The manifest or the present lock file.
    #[error(transparent)]
    Resolve(#[from] Error),

    /// No packages were found for one environment on one platform.
    #[error("cannot lock environment `{environment}` for {platform}")]
    Solve {
        /// The environment, or the solve group with its environments.
        environment: String,
        /// The platform.
        platform: String,
        /// Why not.
        source: Box<SolveError>,
    },

    /// A conda package that has to be built to know what it needs.
    #[error(
        "environment `{environment}` requires {packages} from source, which only pixi can lock; run `pixi lock`",
        packages = packages.join(", ")
    )]
    CondaSource {
        /// The environment or solve group.
        environment: String,
        /// The packages.
        packages: Vec<String>,
    },

    /// Python packages, which need another solver.
    #[error(
        "environment `{environment}` requires the Python packages {packages}, which uv chooses, and there is no `uv` on the PATH; install it, or run `pixi lock`",
        packages = packages.join(", ")
    )]
    Pypi {
        /// The environment or solve group.
        environment: String,
        /// The packages.
        packages: Vec<String>,
    },

    /// A Python package of which only a build knows what it needs.
    #[error(
        "environment `{environment}` requires the Python package {package} {what}, which only pixi can lock; run `pixi lock`"
    )]
    PypiSource {
        /// The environment or solve group.
        environment: String,
        /// The package.
        package: String,
        /// Where it is from.
        what: String,
    },

    /// Requirements that replace those of packages are not read here.
    #[error(
        "environment `{environment}` has `dependency-overrides` for {packages}, which only pixi can lock; run `pixi lock`",
        packages = packages.join(", ")
    )]
    PypiOverrides {
        /// The environment or solve group.
        environment: String,
        /// The packages.
        packages: Vec<String>,
    },

    /// Python packages without a Python.
    #[error(
        "environment `{environment}` requires Python packages, and on {platform} no conda package `python`; add it to `[dependencies]`"
    )]
    NoPython {
        /// The environment or solve group.
        environment: String,
        /// The platform.
        platform: String,
    },

    /// Python packages for a platform that uv does not have.
    #[error(
        "environment `{environment}` requires Python packages, and uv has none for {platform}{with}; run `pixi lock`",
        with = if glibc.is_empty() { String::new() } else { format!(" with glibc {glibc}") }
    )]
    PypiPlatform {
        /// The environment or solve group.
        environment: String,
        /// The platform.
        platform: String,
        /// Its glibc, if it has one.
        glibc: String,
    },

    /// uv found no Python packages.
    #[error("cannot lock the Python packages of environment `{environment}` for {platform}: uv says:\n{message}")]
    Uv {
        /// The environment, or the solve group with its environments.
        environment: String,
        /// The platform.
        platform: String,
        /// What it said, redacted.
        message: String,
    },

    /// Somebody wanted it to end.
    #[error("interrupted")]
    Interrupted,

    /// A platform that conda does not have.
    #[error("`{platform}` is not a conda platform; write one such as linux-64 or linux-aarch64")]
    UnknownPlatform {
        /// As declared.
        platform: String,
    },

    /// What was found cannot be written down.
    #[error("cannot make a lock file: {message}")]
    Document {
        /// Why not.
        message: String,
    },

    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LockError {
    /// Whether the caller wanted it to end.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Solve { source, .. } => matches!(**source, SolveError::Interrupted),
            _ => false,
        }
    }
}
