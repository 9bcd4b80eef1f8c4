//! `/opt/pixi/application.json` in the application layer: what is in that layer.
//!
//! Files of packages are listed by their packages, in `conda-meta` and `RECORD`. With this list `verify image` can tell
//! what was declared when the image was built from what came later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where it is, from the image's root.
pub const PLACE: &str = "opt/pixi/application.json";
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileList {
    version: u32,
    /// By their paths from the image's root.
    pub files: BTreeMap<String, Listed>,
}

/// What a path is: a file has a digest, a link a target, a directory only a mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listed {
    /// Of a file or directory: four octal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Of a directory of the base image that is not root's: `USER:GROUP` in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Of a file: 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of a hard link: the path of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_link: Option<String>,
}

impl FileList {
    pub fn new(files: BTreeMap<String, Listed>) -> Self {
        Self { version: VERSION, files }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        crate::to_json(self)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        crate::parse(bytes, VERSION)
    }
}
