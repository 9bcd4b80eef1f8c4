//! What a manifest or image index names.

use oci_spec::image as spec;
use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::Digest;
use serde_json::Value;

/// The size of a document that registries accept at most (OCI distribution-spec, "Pushing Manifests").
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// The media types that a registry is asked for.
pub const MANIFEST_TYPES: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// An image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's image index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Why a document is not an image manifest or image index.
#[derive(Debug, thiserror::Error)]
#[error("{digest} is not an image manifest or image index: {reason}")]
pub struct DocumentError {
    /// The document.
    pub digest: Digest,
    /// What is wrong with it.
    pub reason: String,
}

/// An image manifest or image index, and what it names directly.
#[derive(Debug)]
pub enum References {
    /// Of an image manifest.
    Manifest {
        /// The image configuration.
        config: Descriptor,
        /// Bottom first.
        layers: Vec<Descriptor>,
    },
    /// Of an image index: image manifests and further indexes.
    Index(Vec<Descriptor>),
}

impl References {
    /// Reads a document. The media type of its descriptor decides what it has to be; a document that could be taken
    /// for the other kind as well is refused (CVE-2021-41190).
    pub fn parse(document: &Descriptor, bytes: &[u8]) -> Result<Self, DocumentError> {
        let bad = |reason: String| DocumentError { digest: document.digest, reason };
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(bad(format!("it is larger than {MAX_DOCUMENT} bytes")));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if value.get("manifests").is_some() && (value.get("layers").is_some() || value.get("config").is_some()) {
            return Err(bad("it has both `manifests` and `layers` or `config`".into()));
        }
        if value.get("mediaType").is_some_and(|inside| *inside != document.media_type.to_string()) {
            return Err(bad(format!("its mediaType is {}, not {}", value["mediaType"], document.media_type)));
        }
        let ours = |list: &[spec::Descriptor]| -> Result<Vec<Descriptor>, DocumentError> {
            list.iter().map(|entry| Descriptor::try_from(entry).map_err(|error| bad(error.to_string()))).collect()
        };
        match document.media_type {
            MediaType::ImageManifest => {
                let manifest: spec::ImageManifest = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
                let config = Descriptor::try_from(manifest.config()).map_err(|error| bad(error.to_string()))?;
                Ok(Self::Manifest { config, layers: ours(manifest.layers())? })
            }
            MediaType::ImageIndex => {
                let index: spec::ImageIndex = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
                Ok(Self::Index(ours(index.manifests())?))
            }
            _ => Err(bad(format!("its media type is {}", document.media_type))),
        }
    }

    /// Everything that has to be there before the document may be visible.
    pub fn all(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list) = match self {
            Self::Manifest { config, layers } => (Some(config), layers),
            Self::Index(manifests) => (None, manifests),
        };
        config.into_iter().chain(list)
    }
}
