//! A leg file: what a job that publishes one architecture hands to the job that joins them.

use std::collections::BTreeMap;

use pixi_oci_layer::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;

pub const VERSION: u32 = 1;
/// No leg is larger.
pub const MAX_SIZE: u64 = 1 << 20;

/// One architecture's image that is in repositories already, named by its digest: a tag may be from an older run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leg {
    /// [`VERSION`]
    pub format: u32,
    /// The version that was published, if it is known.
    pub version: Option<String>,
    /// `amd64`
    pub arch: String,
    /// The CPU variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Of the image manifest.
    pub digest: Digest,
    /// Of the image manifest, in bytes.
    pub size: u64,
    /// Of the image manifest.
    pub media_type: String,
    /// Where it is: `HOST/REPOSITORY`.
    pub repositories: Vec<String>,
    /// The annotations that the image index gets.
    pub index_annotations: BTreeMap<String, String>,
}

impl Leg {
    /// # Errors
    ///
    /// It is not a leg of [`VERSION`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::parse(bytes, VERSION)
    }
}
