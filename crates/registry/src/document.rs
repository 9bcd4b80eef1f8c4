//! What a manifest or image index names.

use oci_read::document::{self as read, ParseDocumentError};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;

pub use oci_read::limits::DOCUMENT as MAX_DOCUMENT;

#[derive(Debug, thiserror::Error)]
#[error("{digest} is not an image manifest or image index: {reason}")]
pub struct DocumentError {
    pub digest: Digest,
    pub reason: String,
}

/// An image manifest or image index, and what it names directly.
#[derive(Debug)]
pub enum References {
    Manifest {
        config: Descriptor,
        /// Bottom first.
        layers: Vec<Descriptor>,
    },
    /// Of an image index: image manifests and further indexes.
    Index(Vec<Descriptor>),
}

impl References {
    /// Reads a document. The media type of its descriptor decides what it has to be.
    ///
    /// # Errors
    ///
    /// It is something else, or two readers could understand it differently.
    pub fn parse(document: &Descriptor, bytes: &[u8]) -> Result<Self, DocumentError> {
        let bad = |reason: String| DocumentError { digest: document.digest, reason };
        let declared = document.media_type.to_string();
        if ![read::OCI_MANIFEST, read::OCI_INDEX].contains(&&*declared) {
            return Err(bad(format!("its media type is {declared}")));
        }
        Self::of(read::Document::parse(&declared, bytes).map_err(|error: ParseDocumentError| bad(error.to_string()))?)
            .map_err(bad)
    }

    /// What a document names, with digests that can be used.
    pub fn of(document: read::Document) -> Result<Self, String> {
        let all = |list: &[read::Descriptor]| list.iter().map(descriptor).collect::<Result<Vec<_>, _>>();
        Ok(match document {
            read::Document::Manifest(read::Manifest { config, layers, .. }) => {
                Self::Manifest { config: descriptor(&config)?, layers: all(&layers)? }
            }
            read::Document::Index(index) => Self::Index(all(&index.manifests)?),
        })
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

/// A descriptor with its digest checked: it becomes a file name (CVE-2024-3727).
pub fn descriptor(read: &read::Descriptor) -> Result<Descriptor, String> {
    Ok(Descriptor {
        media_type: read.media_type.as_str().into(),
        digest: read.digest.parse().map_err(|error| format!("{error}"))?,
        size: read.size,
        annotations: read.annotations.clone(),
    })
}
