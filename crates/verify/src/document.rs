//! The OCI documents, as far as they are verified, read strictly.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::Value as Json;

use crate::report::{Findings, Rule, printable};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub(crate) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

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

impl Descriptor {
    /// What has to be checked once. Descriptors of one digest that differ in the rest cannot all be right.
    pub fn key(&self) -> Key {
        (self.digest.clone(), self.size, self.media_type.clone())
    }
}

/// Digest, size and media type.
pub(crate) type Key = (String, u64, String);

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

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// OCI image-spec, image-index.md.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    /// Go programs write null for an empty list.
    pub manifests: Option<Vec<Descriptor>>,
}

/// OCI image-spec, manifest.md.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// OCI image-spec, config.md.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageConfig {
    pub created: Option<String>,
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    pub rootfs: RootFs,
    pub history: Option<Vec<History>>,
    pub config: Option<Settings>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RootFs {
    pub r#type: String,
    pub diff_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct History {
    pub created_by: Option<String>,
    #[serde(default)]
    pub empty_layer: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Settings {
    pub env: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub entrypoint: Option<Vec<String>>,
}

/// What a document says of itself, whatever its type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Common {
    schema_version: Option<u64>,
    media_type: Option<String>,
}

/// Parses an index or manifest. `media_type` is what its descriptor says; `None` for `index.json`, which has none.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    media_type: Option<&str>,
    subject: &str,
    findings: &mut Findings,
) -> Option<T> {
    let keys = keys(bytes, subject, findings)?;
    let has = |key: &str| keys.iter().any(|own| own.eq_ignore_ascii_case(key));
    // One document that is an index to one reader and a manifest to another (CVE-2021-41190).
    if has("layers") && has("manifests") {
        findings.error(Rule::Document, subject, "has both layers and manifests");
        return None;
    }
    let common: Common = from_json(bytes, subject, findings)?;
    if common.schema_version != Some(2) {
        findings.error(Rule::Document, subject, "its schemaVersion is not 2");
    }
    let expected = media_type.unwrap_or(INDEX);
    match common.media_type {
        Some(own) if own != expected => {
            let text = format!("says that it is {}, not {expected}", printable(own.as_bytes()));
            findings.error(Rule::MediaType, subject, text);
        }
        // Only `index.json` is known from its place alone.
        None if media_type.is_some() => {
            findings.error(Rule::MediaType, subject, format!("does not itself say that it is {expected}"));
        }
        _ => {}
    }
    from_json(bytes, subject, findings)
}

/// Parses an image configuration.
pub(crate) fn parse_config(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<ImageConfig> {
    keys(bytes, subject, findings)?;
    from_json(bytes, subject, findings)
}

/// Parses a document that was checked before.
pub(crate) fn parse_again<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes)
}

fn from_json<T: DeserializeOwned>(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| {
            let error = printable(error.to_string().as_bytes());
            findings.error(Rule::Document, subject, format!("is not of the form of its type: {error}"));
        })
        .ok()
}

/// The keys of a document. Two that differ in nothing but case are refused, because Go's readers take them for one.
fn keys(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<Vec<String>> {
    let Keys(keys) = from_json(bytes, subject, findings)?;
    let mut folded: Vec<String> = keys.iter().map(|key| key.to_ascii_lowercase()).collect();
    folded.sort();
    if let Some(pair) = folded.windows(2).find(|pair| pair[0] == pair[1]) {
        findings.error(Rule::Document, subject, format!("has the key {} twice", printable(pair[0].as_bytes())));
        return None;
    }
    Some(keys)
}

struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                // Values are read for their depth, which the parser bounds.
                while let Some((key, _)) = map.next_entry::<_, Json>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}
