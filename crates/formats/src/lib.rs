//! The files that pixi-oci writes for itself: written and verified from one definition, which docs/formats.md describes.
//!
//! Each has a version. It is raised when a reader of before would misunderstand the file; such a file is refused, or
//! counts as missing where it can be made again.
#![allow(missing_docs)]

pub mod file_list;
pub mod layer_table;
pub mod leg;
pub mod product;

pub use file_list::FileList;
pub use layer_table::LayerTable;
pub use leg::Leg;
pub use product::ProductManifest;

use serde::{Deserialize, de::DeserializeOwned};

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has version {found}; expected {expected}")]
    Version { found: u32, expected: u32 },
}

/// The version is looked at first: a file of another one need not have the form of this one.
fn parse<T: DeserializeOwned>(bytes: &[u8], expected: u32) -> Result<T, Error> {
    /// A leg has the version of what was published, too.
    #[derive(Deserialize)]
    struct Head {
        format: Option<u32>,
        version: Option<serde_json::Value>,
    }
    let Head { format, version } = oci_read::json::parse(bytes)?;
    let found = format.or_else(|| version?.as_u64()?.try_into().ok()).unwrap_or_default();
    if found != expected {
        return Err(Error::Version { found, expected });
    }
    Ok(oci_read::json::parse(bytes)?)
}

/// None of the formats has anything that cannot be written.
fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
