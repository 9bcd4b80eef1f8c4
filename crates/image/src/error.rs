//! What can be wrong with the input of an OCI document.

// The messages say what the fields are.
#![allow(missing_docs)]

use crate::Architecture;

/// Why a document cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The name or the value of an environment variable cannot be in an image configuration. The value is not shown,
    /// because it may be a secret.
    #[error("environment variable {name:?}: {reason}")]
    Env { name: String, reason: &'static str },
    /// A label or annotation cannot be written.
    #[error("{kind} {key:?}: {reason}")]
    Metadata {
        /// `label` or `annotation`.
        kind: &'static str,
        key: String,
        reason: &'static str,
    },
    /// Another setting of the image is not valid.
    #[error("{setting} {value:?}: {reason}")]
    Setting {
        /// Its name, as in the workspace's configuration.
        setting: &'static str,
        value: String,
        /// What is wrong with it, and what is right.
        reason: &'static str,
    },
    /// The time is outside the years that RFC 3339 can write (and before 1970, which no tool expects).
    #[error("time {seconds} is not between 0 and 253402207200 (year 9999) seconds since 1970")]
    Time {
        /// Seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
    },
    /// An image index needs at least one image.
    #[error("an image index needs at least one image")]
    EmptyIndex,
    /// One image index would have two images for the same machine, and a runtime would take either.
    #[error("two images for linux/{architecture}: an image index can have one of each architecture")]
    DuplicateArchitecture { architecture: Architecture },
    /// A descriptor that came from elsewhere names something other than SHA-256.
    #[error("descriptor of {media_type}: {source}")]
    Digest { media_type: String, source: pixi_oci_layer::ParseDigestError },
}
