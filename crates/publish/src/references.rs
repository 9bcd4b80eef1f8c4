//! What a manifest or image index names.

use oci_spec::image as spec;
use pixi_oci_image::{Descriptor, MediaType};
use serde_json::Value;

use crate::Error;

/// The size of a document that registries accept at most (OCI distribution-spec, "Pushing Manifests").
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// An image manifest or image index, and what it names directly.
#[derive(Debug)]
pub(crate) enum References {
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
    pub(crate) fn parse(document: &Descriptor, bytes: &[u8]) -> Result<Self, Error> {
        let bad = |reason: String| Error::Document {
            what: document.digest.to_string(),
            kind: "an image manifest or image index",
            reason,
        };
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
        let ours = |list: &[spec::Descriptor]| -> Result<Vec<Descriptor>, Error> {
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
    pub(crate) fn all(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list) = match self {
            Self::Manifest { config, layers } => (Some(config), layers),
            Self::Index(manifests) => (None, manifests),
        };
        config.into_iter().chain(list)
    }
}
