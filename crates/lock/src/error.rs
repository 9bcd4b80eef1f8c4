//! Why a lock file cannot be used. URLs in it are always redacted.

use std::path::PathBuf;

use pixi_oci_workspace::{listed, meant};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest, or a file that cannot be read.
    #[error(transparent)]
    Workspace(#[from] pixi_oci_workspace::Error),

    #[error("there is no lock file {}; run `pixi lock` or `pixi-oci lock` to make one", path.display())]
    NoLockFile { path: PathBuf },

    /// A lock file of before multiple environments (format 1 to 3).
    #[error("{}: lock file version {version} is too old, pixi-oci reads versions 1 to 7; run `pixi lock` to renew it", path.display())]
    LockFileTooOld { path: PathBuf, version: u64 },

    /// A lock file of a format that did not exist when this program was made.
    #[error("{}: lock file version {version} is newer than this pixi-oci reads (7); update pixi-oci, or lock with an older pixi", path.display())]
    LockFileTooNew { path: PathBuf, version: u64 },

    #[error("{}: {message}; run `pixi lock` to renew it", path.display())]
    LockFile { path: PathBuf, message: String },

    #[error("{}: package {package}: {message}", path.display())]
    LockedPackage {
        path: PathBuf,
        /// The package, by name, or by location where it has no name.
        package: String,
        message: String,
    },

    #[error(
        "environment `{environment}` is not locked for {wanted}; {}{}",
        meant(wanted.split('`').nth(1).unwrap_or_default(), available),
        listed("it is locked for", available)
    )]
    NoPlatform {
        environment: String,
        /// What was asked for, e.g. "platform `linux-aarch64`".
        wanted: String,
        available: Vec<String>,
    },

    #[error(
        "environment `{environment}` is locked for several platforms of {subdir}: {}; choose one with `--platform NAME`",
        candidates.join(", ")
    )]
    AmbiguousPlatform {
        environment: String,
        /// The architecture they share, e.g. `linux-64`.
        subdir: String,
        /// The platforms, each with what sets it apart, e.g. "`gpu` (__cuda=12)".
        candidates: Vec<String>,
    },

    #[error("platform `{platform}` ({subdir}) is not supported: images can be made for linux-64 and linux-aarch64")]
    UnsupportedPlatform { platform: String, subdir: String },
}
