//! The documents of other people's images: manifests, indexes and configurations of OCI and of Docker.
//!
//! They are read with types of our own, because real ones are looser than the specification: Go writes `null` for an
//! empty list, Docker has media types of its own, indexes name things that are no images. What is not needed is not
//! looked at; what is needed is checked.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use pixi_oci_image::{Architecture, Descriptor};
use pixi_oci_layer::Digest;
use pixi_oci_registry::document::{
    DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST,
};
use serde::Deserialize;
use serde_json::Value;

use super::Problem;

const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Which compression a layer really has is seen from its bytes: skopeo's docker-archive says gzip of plain tars.
const LAYER_TYPES: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

/// A descriptor as it stands in a document. `urls` are not read: where bytes come from is not decided by a document
/// (CVE-2020-15157).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(default)]
    pub media_type: String,
    digest: String,
    pub size: u64,
    pub platform: Option<EntryPlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

/// The `platform` of a descriptor.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EntryPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Entry {
    /// Something of which no more is known.
    pub(crate) fn new(digest: &Digest, size: u64) -> Self {
        Self { media_type: String::new(), digest: digest.to_string(), size, platform: None, annotations: None }
    }

    /// With its digest checked: it becomes a file name (CVE-2024-3727).
    pub(crate) fn descriptor(&self) -> Result<Descriptor, Problem> {
        let digest =
            self.digest.parse().map_err(|error| Problem::document("a descriptor", "one that can be used", error))?;
        let annotations = self.annotations.clone().unwrap_or_default();
        Ok(Descriptor { media_type: self.media_type.as_str().into(), digest, size: self.size, annotations })
    }

    /// An image's name in an OCI layout.
    pub(crate) fn name(&self) -> Option<&str> {
        self.annotations.as_ref()?.get("org.opencontainers.image.ref.name").map(String::as_str)
    }

    /// Whether it could be an image or index; only what has a media type of something else cannot.
    pub(crate) fn may_be_image(&self) -> bool {
        self.media_type.is_empty() || MANIFEST_TYPES.contains(&self.media_type.as_str())
    }
}

impl EntryPlatform {
    pub(crate) fn is(&self, architecture: Architecture) -> bool {
        self.os == "linux" && self.architecture == architecture.as_str()
    }

    /// Of what is no image of a machine.
    pub(crate) fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// How well the variant suits machines of which only the architecture is known: the least one, which all machines
    /// have, comes first.
    pub(crate) fn rank(&self) -> (u8, &str) {
        match (self.architecture.as_str(), self.variant.as_deref().unwrap_or_default()) {
            (_, "") | ("amd64", "v1") | ("arm64", "v8") => (0, ""),
            (_, variant) => (1, variant),
        }
    }

    pub(crate) fn variant(&self) -> Option<&str> {
        self.variant.as_deref().filter(|variant| !variant.is_empty())
    }
}

impl Display for EntryPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// An image manifest or image index, of OCI or Docker.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest { config: Entry, layers: Vec<Entry> },
    Index(Vec<Entry>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    #[serde(default)]
    media_type: String,
    config: Option<Entry>,
    layers: Option<Vec<Entry>>,
    manifests: Option<Vec<Entry>>,
}

impl Document {
    /// Reads a document. `declared` is the media type under which it was named, or empty.
    pub(crate) fn parse(what: impl Display, declared: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let bad = |reason: String| Problem::document(&what, "an image manifest or image index", reason);
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(bad(format!("it is larger than {MAX_DOCUMENT} bytes")));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let has = |key: &str| value.get(key).is_some();
        if has("fsLayers") || value["schemaVersion"] == 1 {
            return Err(
                bad("it has Docker's schema 1, which was abandoned in 2017; copy the image with skopeo".into()),
            );
        }
        // A document that can be read as both is one image to a scanner and another to a runtime (CVE-2021-41190).
        if has("manifests") && (has("layers") || has("config")) {
            return Err(bad("it has both `manifests` and `layers` or `config`".into()));
        }
        let is_index = has("manifests");
        let raw: RawDocument = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        let (document, types) = match raw.config {
            Some(config) => {
                if !CONFIG_TYPES.contains(&config.media_type.as_str()) {
                    return Err(bad(format!("it is not of an image but of {:?}", config.media_type)));
                }
                let layers = raw.layers.unwrap_or_default();
                if let Some(layer) = layers.iter().find(|layer| !LAYER_TYPES.contains(&layer.media_type.as_str())) {
                    return Err(bad(format!("it has a layer of the unknown type {:?}", layer.media_type)));
                }
                (Self::Manifest { config, layers }, [OCI_MANIFEST, DOCKER_MANIFEST])
            }
            None if !is_index => return Err(bad("it has neither `config` nor `manifests`".into())),
            None => (Self::Index(raw.manifests.unwrap_or_default()), [OCI_INDEX, DOCKER_LIST]),
        };
        for media_type in [declared, &raw.media_type] {
            if !media_type.is_empty() && !types.contains(&media_type) {
                return Err(bad(format!("its media type is {media_type:?}")));
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(declared: &str, text: &str) -> Result<Document, Problem> {
        Document::parse("test", declared, text.as_bytes())
    }

    fn entry(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":1,"urls":["https://evil"]}}"#, Digest::of(b"x"))
    }

    #[test]
    fn manifests_and_indexes_of_oci_and_docker() {
        for (manifest, config) in [(OCI_MANIFEST, CONFIG_TYPES[0]), (DOCKER_MANIFEST, CONFIG_TYPES[1])] {
            let layers = LAYER_TYPES.map(entry).join(",");
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{manifest}","config":{},"layers":[{layers}]}}"#,
                entry(config)
            );
            let Document::Manifest { layers, .. } = parse(manifest, &text).unwrap() else { panic!() };
            assert_eq!(layers.len(), LAYER_TYPES.len());
            assert!(parse(OCI_INDEX, &text).is_err());
        }
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry("x/y"));
        assert!(matches!(parse("", &text).unwrap(), Document::Index(list) if list.len() == 1));
        assert!(matches!(parse(OCI_INDEX, r#"{"manifests":null}"#).unwrap(), Document::Index(list) if list.is_empty()));
    }

    #[test]
    fn what_two_readers_could_take_for_two_things_is_refused() {
        let config = entry(CONFIG_TYPES[0]);
        for (bad, why) in [
            (format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#), "both"),
            (format!(r#"{{"mediaType":"{OCI_INDEX}","config":{config}}}"#), "media type"),
            (format!(r#"{{"mediaType":"{OCI_MANIFEST}","manifests":[]}}"#), "media type"),
            (format!(r#"{{"config":{},"layers":[]}}"#, entry("application/vnd.cncf.helm.config.v1+json")), "helm"),
            (format!(r#"{{"config":{config},"layers":[{}]}}"#, entry("application/wasm")), "wasm"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
            ("[]".to_owned(), "not an image manifest"),
            ("{}".to_owned(), "neither"),
            ("[".repeat(100_000), "recursion"),
            (format!(r#"{{"config":{}}}"#, config.replace(":1,", ":-1,")), "-1"),
        ] {
            let error = parse("", &bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let Ok(Document::Index(list)) = parse("", r#"{"manifests":[{"digest":"sha256:../../x","size":1}]}"#) else {
            panic!()
        };
        assert!(list[0].descriptor().is_err());
    }
}
