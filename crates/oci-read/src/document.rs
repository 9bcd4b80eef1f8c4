//! Indexes, manifests and configurations of OCI and of Docker.
//!
//! Real ones are looser than the specification: Go writes `null` for an empty list, Docker has media types of its own,
//! indexes name things that are not images. What is not needed is not looked at, but by [`json`] for a second meaning.

mod config;

pub use config::{History, ImageConfig, RootFs, Settings};

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::{json, limits};

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A SIF in a registry: what Apptainer looks for, and what it puts there as the configuration.
pub const SIF_LAYER: &str = "application/vnd.sylabs.sif.layer.v1.sif";
pub const SIF_CONFIG: &str = "application/vnd.sylabs.sif.config.v1+json";
/// What a registry is asked for.
pub const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
/// The annotation that names an image in a layout, and the one that names its base image.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// OCI image-spec, descriptor.md. Where bytes come from is not decided by `urls` (CVE-2020-15157).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "or_null")]
    pub media_type: String,
    /// As it stands there: see [`sha256`].
    pub digest: String,
    pub size: u64,
    #[serde(default, deserialize_with = "or_null")]
    pub annotations: BTreeMap<String, String>,
    pub platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_null")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "or_null")]
    pub data: String,
    #[serde(default, deserialize_with = "or_null")]
    pub artifact_type: String,
}

impl Descriptor {
    /// Something of which no more is known.
    pub fn new(digest: String, size: u64) -> Self {
        Self { digest, size, ..Self::default() }
    }

    /// What has to be checked once. Descriptors of one digest that differ in the rest cannot all be right.
    pub fn key(&self) -> Key {
        (self.digest.clone(), self.size, self.media_type.clone())
    }

    /// An image's name in a layout.
    pub fn name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }

    /// Whether it could be an image or index; only what has a media type of something else cannot.
    pub fn may_be_image(&self) -> bool {
        self.media_type.is_empty() || MANIFEST_TYPES.contains(&&*self.media_type)
    }
}

/// Digest, size and media type.
pub type Key = (String, u64, String);

/// The hex digits of a digest, if it is one that may become a file name (CVE-2024-3727).
pub fn sha256(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then_some(hex)
}

/// The `platform` of a descriptor (OCI image-spec, image-index.md), and the same fields of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_null")]
    pub variant: String,
    #[serde(default, deserialize_with = "or_null", rename = "os.version")]
    pub os_version: String,
}

impl Platform {
    /// Of what is not an image of a machine, such as BuildKit's attestations.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    pub fn variant(&self) -> Option<&str> {
        (!self.variant.is_empty()).then_some(&*self.variant)
    }

    /// How well the variant suits machines of which only the architecture is known: the least one, which all machines
    /// have, comes first.
    pub fn rank(&self) -> (u8, &str) {
        match (&*self.architecture, &*self.variant) {
            (_, "") | ("amd64", "v1") | ("arm64", "v8") => (0, ""),
            (_, variant) => (1, variant),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDocumentError {
    #[error("it is larger than {} bytes", limits::DOCUMENT)]
    TooLarge,
    #[error("{0}")]
    Json(String),
    #[error("it has Docker's schema 1, which was abandoned in 2017; copy the image with skopeo")]
    Schema1,
    /// One that can be read as both is one image to a scanner and another to a runtime (CVE-2021-41190).
    #[error("it has both `manifests` and `layers` or `config`")]
    Both,
    #[error("it has neither `config` nor `manifests`")]
    Neither,
    #[error("its media type is {found:?}; expected {expected}")]
    MediaType { found: String, expected: &'static str },
    #[error("it has more than {} layers", limits::LAYERS)]
    Layers,
}

impl ParseDocumentError {
    fn json(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// Whether the file `oci-layout` has the version that is known (OCI image-spec, image-layout.md).
pub fn is_layout(marker: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    json::parse::<Marker>(marker).is_ok_and(|marker| marker.image_layout_version == "1.0.0")
}

/// An image manifest or image index.
#[derive(Debug)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// OCI image-spec, manifest.md.
#[derive(Debug)]
pub struct Manifest {
    pub common: Common,
    pub config: Box<Descriptor>,
    /// Bottom first.
    pub layers: Vec<Descriptor>,
}

/// OCI image-spec, image-index.md.
#[derive(Debug)]
pub struct Index {
    pub common: Common,
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default)]
pub struct Common {
    pub schema_version: Option<u64>,
    /// Its own word; empty where there is none.
    pub media_type: String,
    pub artifact_type: String,
    pub annotations: BTreeMap<String, String>,
    /// What it says it belongs to.
    pub subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    #[serde(default, deserialize_with = "or_null")]
    media_type: String,
    #[serde(default, deserialize_with = "or_null")]
    artifact_type: String,
    #[serde(default, deserialize_with = "or_null")]
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "present")]
    config: Option<Option<Box<Descriptor>>>,
    #[serde(default, deserialize_with = "present")]
    layers: Option<Option<Vec<Descriptor>>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Option<Option<Vec<Descriptor>>>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads a document. `declared` is the media type under which it was named, or empty.
    ///
    /// # Errors
    ///
    /// It is malformed, too large, or something else than it is named; or two readers could understand it differently.
    pub fn parse(declared: &str, bytes: &[u8]) -> Result<Self, ParseDocumentError> {
        if bytes.len() as u64 > limits::DOCUMENT {
            return Err(ParseDocumentError::TooLarge);
        }
        let raw: Raw = json::parse(bytes).map_err(ParseDocumentError::json)?;
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
            return Err(ParseDocumentError::Schema1);
        }
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(ParseDocumentError::Both);
        }
        let common = Common {
            schema_version: raw.schema_version,
            media_type: raw.media_type,
            artifact_type: raw.artifact_type,
            annotations: raw.annotations,
            subject: raw.subject,
        };
        let types = if raw.manifests.is_some() { [OCI_INDEX, DOCKER_LIST] } else { [OCI_MANIFEST, DOCKER_MANIFEST] };
        let expected =
            if declared.is_empty() { types[0] } else { types.into_iter().find(|t| *t == declared).unwrap_or(types[0]) };
        for found in [declared, &common.media_type] {
            let fits = types.contains(&found) && (declared.is_empty() || found == declared);
            if !found.is_empty() && !fits {
                return Err(ParseDocumentError::MediaType { found: found.chars().take(100).collect(), expected });
            }
        }
        match (raw.manifests, raw.config.flatten()) {
            (Some(manifests), _) => Ok(Self::Index(Index { common, manifests: manifests.unwrap_or_default() })),
            (None, Some(config)) => {
                let layers = raw.layers.flatten().unwrap_or_default();
                if layers.len() > limits::LAYERS {
                    return Err(ParseDocumentError::Layers);
                }
                Ok(Self::Manifest(Manifest { common, config, layers }))
            }
            (None, None) => Err(ParseDocumentError::Neither),
        }
    }

    /// Whether it is a SIF, or an index of SIFs, and not an image. What Apptainer pushes has no `artifactType`.
    pub fn is_sif(&self) -> bool {
        let all = |list: &[Descriptor]| !list.is_empty() && list.iter().all(|entry| entry.artifact_type == SIF_LAYER);
        match self {
            Self::Manifest(manifest) if manifest.config.media_type == SIF_CONFIG => true,
            Self::Index(index) if all(&index.manifests) => true,
            other => other.common().artifact_type == SIF_LAYER,
        }
    }

    pub fn common(&self) -> &Common {
        match self {
            Self::Manifest(manifest) => &manifest.common,
            Self::Index(index) => &index.common,
        }
    }

    /// Everything it names, the configuration first.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list) = match self {
            Self::Manifest(manifest) => (Some(&*manifest.config), &manifest.layers),
            Self::Index(index) => (None, &index.manifests),
        };
        config.into_iter().chain(list)
    }
}

/// Whether two documents say the same but for what is at these JSON pointers.
pub fn same_except(one: &[u8], other: &[u8], pointers: &[&str]) -> bool {
    let read = |bytes: &[u8]| {
        let mut value: serde_json::Value = json::parse(bytes).ok()?;
        for pointer in pointers {
            let (parent, key) = pointer.rsplit_once('/')?;
            value.pointer_mut(parent).and_then(serde_json::Value::as_object_mut).map(|object| object.remove(key));
        }
        Some(value)
    };
    read(one).is_some_and(|one| Some(one) == read(other))
}

fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `Some(None)` for `null`, which is not the same as a key that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(declared: &str, text: &str) -> Result<Document, ParseDocumentError> {
        Document::parse(declared, text.as_bytes())
    }

    fn entry(media_type: &str) -> String {
        let digest = format!("sha256:{}", "a".repeat(64));
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1,"urls":["https://evil"]}}"#)
    }

    #[test]
    fn manifests_and_indexes_of_oci_and_docker() {
        for (manifest, config) in [(OCI_MANIFEST, OCI_CONFIG), (DOCKER_MANIFEST, DOCKER_CONFIG)] {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{manifest}","config":{},"layers":[{}]}}"#,
                entry(config),
                entry("x/y")
            );
            let Document::Manifest(read) = parse(manifest, &text).unwrap() else { panic!() };
            assert_eq!((read.layers.len(), read.config.urls.len()), (1, 1));
            assert!(parse(OCI_INDEX, &text).is_err());
        }
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry("x/y"));
        assert!(matches!(parse("", &text).unwrap(), Document::Index(index) if index.manifests.len() == 1));
        let null = parse(OCI_INDEX, r#"{"manifests":null}"#).unwrap();
        assert!(matches!(null, Document::Index(index) if index.manifests.is_empty()));
    }

    #[test]
    fn a_sif_is_told_from_an_image() {
        let sif = entry(SIF_CONFIG);
        let child = sif.replace("{", &format!(r#"{{"artifactType":"{SIF_LAYER}","#));
        for (text, expected) in [
            (format!(r#"{{"config":{sif},"layers":[]}}"#), true),
            (format!(r#"{{"artifactType":"{SIF_LAYER}","config":{},"layers":[]}}"#, entry("x/y")), true),
            (format!(r#"{{"artifactType":"x/y","config":{},"layers":[]}}"#, entry(OCI_CONFIG)), false),
            (format!(r#"{{"manifests":[{child},{child}]}}"#), true),
            (format!(r#"{{"manifests":[{child},{sif}]}}"#), false),
            (r#"{"manifests":[]}"#.to_owned(), false),
        ] {
            assert_eq!(parse("", &text).unwrap().is_sif(), expected, "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        let config = entry(OCI_CONFIG);
        for (bad, why) in [
            (format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#), "both"),
            (format!(r#"{{"config":{config},"layers":[],"manifests":null}}"#), "both"),
            (format!(r#"{{"config":{config},"layers":[],"Manifests":[]}}"#), "only in case"),
            (format!(r#"{{"mediaType":"{OCI_INDEX}","config":{config}}}"#), "media type"),
            (format!(r#"{{"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#), "media type"),
            (format!(r#"{{"config":{}}}"#, config.replace("\"size\"", "\"Digest\":\"x\",\"size\"")), "only in case"),
            (format!(r#"{{"config":{config},"layers":[],"layers":[]}}"#), "twice"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
            ("[]".to_owned(), "invalid"),
            ("{}".to_owned(), "neither"),
            (format!(r#"{{"x":{}"#, "[".repeat(100_000)), "recursion"),
            (format!(r#"{{"config":{}}}"#, config.replace(":1,", ":-1,")), "-1"),
            (format!(r#"{{"config":{config},"layers":[{}]}}"#, vec![&*config; 1001].join(",")), "1000 layers"),
        ] {
            let error = parse("", &bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}: {why}");
        }
        for bad in ["sha256:../../x", "sha512:aa", "", &format!("sha256:{}", "A".repeat(64))] {
            assert_eq!(sha256(bad), None);
        }
    }

    #[test]
    fn a_configuration_of_go_has_nulls_and_empty_texts() {
        let text = r#"{"architecture":"arm64","os":"linux","variant":"v8","rootfs":{"type":"layers","diff_ids":null},
            "history":null,"config":{"User":"","Env":["A=1"],"Cmd":null,"Entrypoint":[],"Volumes":{"/v":{},"/V":{}},
            "Labels":{"a":"1","A":"2"},"StopSignal":"","WorkingDir":"","Healthcheck":{"Test":[]},"ArgsEscaped":true},
            "container_config":{"Labels":{"a":"","A":""}}}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform().to_string(), "linux/arm64/v8");
        assert_eq!((config.config.volumes.len(), config.config.labels.len()), (2, 2));
        for bad in [
            r#"{"rootfs":{"diff_ids":[],"Diff_Ids":["x"]}}"#,
            r#"{"rootfs":{},"config":{"entrypoint":["evil"]}}"#,
            r#"{"rootfs":{},"config":{"Env":[],"env":["LD_PRELOAD=x"]}}"#,
            r#"{"rootfs":{},"config":{"Healthcheck":{"Test":[],"test":["evil"]}}}"#,
            "{\"rootfs\":{},\"config\":{\"Volume\u{17f}\":{}}}",
            "{\"rootf\u{17f}\":{}}",
        ] {
            assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        ImageConfig::parse(b"{}").unwrap();
    }

    #[test]
    fn documents_are_compared_but_for_some_places() {
        let (one, other) = (br#"{"a":{"x":1,"y":2},"b":3}"#, br#"{"b":4,"a":{"y":2}}"#);
        assert!(same_except(one, other, &["/b", "/a/x", "/none/z"]));
        assert!(!same_except(one, other, &["/b"]) && !same_except(b"{", b"{", &[]));
    }
}
