//! Why an archive is not there. URLs in it are always redacted.

use std::{io, path::PathBuf};

use pixi_oci_lock::Sha256;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error("offline, and not in the cache: {}; run once without `--offline`", missing.join(", "))]
    Offline { missing: Vec<String> },

    /// What the server answered or sent, or that it could not be reached more often than we retry. URLs in it are redacted.
    #[error("package {package}: {what}")]
    Download { package: String, what: String },

    #[error(
        "package {package}: sha256 of {location} is {actual}, the lock file says {expected}; the file was replaced, or the lock file is wrong"
    )]
    Sha256Mismatch { package: String, location: String, actual: Sha256, expected: Sha256 },

    /// An archive has another md5 than the lock file says, which has no sha256 of it.
    #[error(
        "package {package}: md5 of {location} is {actual}, the lock file says {expected}; run `pixi lock` to renew the lock file"
    )]
    Md5Mismatch { package: String, location: String, actual: String, expected: String },

    #[error(
        "package {package}: {location} has {actual} bytes, the lock file says {expected}; the file was replaced, or the lock file is wrong"
    )]
    SizeMismatch {
        package: String,
        location: String,
        /// What was found, e.g. `3` or `more than 3`.
        actual: String,
        expected: u64,
    },

    #[error("package {package}: cannot {action} {}: {source}", path.display())]
    Archive { package: String, action: &'static str, path: PathBuf, source: io::Error },
}
