//! The OCI documents, as far as they are verified, read strictly.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::report::{Findings, Rule};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// OCI image-spec, descriptor.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub urls: Vec<String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub platform: Option<Platform>,
}

/// The `platform` object of a descriptor (OCI image-spec, image-index.md).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
}

impl Platform {
    /// What BuildKit names its attestations.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// OCI image-spec, image-index.md.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub manifests: Vec<Descriptor>,
}

/// OCI image-spec, manifest.md.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// OCI image-spec, config.md.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageConfig {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    pub rootfs: RootFs,
    pub history: Option<Vec<History>>,
    #[serde(default)]
    pub config: Option<Settings>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    pub r#type: String,
    pub diff_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct History {
    #[serde(default)]
    pub empty_layer: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Settings {
    pub env: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
}

/// Parses an index or manifest. `media_type` is what its descriptor says; `None` for `index.json`, which has none.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    media_type: Option<&str>,
    subject: &str,
    findings: &mut Findings,
) -> Option<T> {
    let value: Value = parse_json(bytes, subject, findings)?;
    // One document that is an index to one reader and a manifest to another (CVE-2021-41190).
    if value.get("layers").is_some() && value.get("manifests").is_some() {
        findings.error(Rule::Document, subject, "has both layers and manifests");
        return None;
    }
    if value.get("schemaVersion") != Some(&2.into()) {
        findings.error(Rule::Document, subject, "schemaVersion is not 2");
    }
    match (value.get("mediaType").and_then(Value::as_str), media_type.unwrap_or(INDEX)) {
        (Some(own), expected) if own != expected => {
            let own = crate::report::printable(own.as_bytes());
            findings.error(Rule::MediaType, subject, format!("says that it is {own}, not {expected}"));
        }
        // Optional in the specification; only `index.json` is known from its place alone.
        (None, expected) if media_type.is_some() => {
            findings.notice(Rule::MediaType, subject, format!("does not itself say that it is {expected}"));
        }
        _ => {}
    }
    from_value(value, subject, findings)
}

/// Parses an image configuration.
pub(crate) fn parse_config(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<ImageConfig> {
    let value = parse_json(bytes, subject, findings)?;
    from_value(value, subject, findings)
}

fn parse_json(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| findings.error(Rule::Document, subject, format!("is not JSON: {error}")))
        .ok()
}

fn from_value<T: DeserializeOwned>(value: Value, subject: &str, findings: &mut Findings) -> Option<T> {
    serde_json::from_value(value)
        .map_err(|error| {
            let error = crate::report::printable(error.to_string().as_bytes());
            findings.error(Rule::Document, subject, format!("is not of the form of its type: {error}"));
        })
        .ok()
}
