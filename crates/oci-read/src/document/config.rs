//! The configuration of an image.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::{ParseDocumentError, Platform, or_null};
use crate::{json, limits};

/// OCI image-spec, config.md; Docker's has the same fields.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ImageConfig {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_null")]
    pub variant: String,
    #[serde(default, deserialize_with = "or_null", rename = "os.version")]
    pub os_version: String,
    pub created: Option<String>,
    #[serde(default)]
    pub rootfs: RootFs,
    pub history: Option<Vec<History>>,
    #[serde(default, deserialize_with = "or_null")]
    pub config: Settings,
    /// Docker's record of the last build step, whose maps have free keys.
    #[serde(default, rename = "container_config")]
    _container_config: Option<Settings>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct RootFs {
    #[serde(default)]
    pub r#type: String,
    #[serde(default, deserialize_with = "or_null")]
    pub diff_ids: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct History {
    pub created: Option<String>,
    pub author: Option<String>,
    pub created_by: Option<String>,
    pub comment: Option<String>,
    pub empty_layer: Option<bool>,
}

/// Go writes empty values for what is not set; here they are the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    #[serde(deserialize_with = "or_null")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_null")]
    pub user: String,
    #[serde(deserialize_with = "or_null")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_null")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_null")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_null")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    pub volumes: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "or_null")]
    pub exposed_ports: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "or_null")]
    pub stop_signal: String,
}

impl ImageConfig {
    /// Reads an image configuration.
    ///
    /// # Errors
    ///
    /// It is malformed or too large, or two readers could understand it differently.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseDocumentError> {
        if bytes.len() as u64 > limits::DOCUMENT {
            return Err(ParseDocumentError::TooLarge);
        }
        json::parse(bytes).map_err(ParseDocumentError::json)
    }

    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
        }
    }

    pub fn layer_history(&self) -> impl Iterator<Item = &History> {
        self.history.iter().flatten().filter(|entry| !entry.empty_layer.unwrap_or(false))
    }
}
