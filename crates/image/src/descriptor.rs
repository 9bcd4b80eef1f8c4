//! Names for content: type, digest and size.

use std::collections::BTreeMap;

use oci_spec::image as spec;
use pixi_oci_layer::{Compression, DiffId, Digest, Layer};
use serde::Serialize;

use crate::{Error, MediaType};

/// What some content is, and how to know that one has it (OCI image-spec, descriptor.md).
///
/// Only SHA-256 can be expressed, annotations are sorted, and there are no `urls`: where bytes come from is not
/// decided by a document (CVE-2020-15157).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The SHA-256 of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// What else is said about the content.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Describes bytes at hand.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self { media_type, digest: Digest::of(bytes), size: bytes.len() as u64, annotations: BTreeMap::new() }
    }
}

impl TryFrom<&spec::Descriptor> for Descriptor {
    type Error = Error;

    /// Takes over a descriptor of a parsed document; its `urls`, `data` and `platform` are dropped.
    fn try_from(descriptor: &spec::Descriptor) -> Result<Self, Error> {
        let digest = descriptor.digest().to_string().parse().map_err(|source| Error::Digest {
            media_type: descriptor.media_type().to_string().chars().take(100).collect(),
            source,
        })?;
        Ok(Self {
            media_type: descriptor.media_type().clone(),
            digest,
            size: descriptor.size(),
            annotations: descriptor.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }
}

/// A layer as an image names it: the compressed blob in the manifest, the diff id in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the tar inside.
    pub diff_id: DiffId,
}

impl LayerEntry {
    /// Describes a layer that was just written.
    pub fn new(layer: &Layer, annotations: BTreeMap<String, String>) -> Self {
        let descriptor = Descriptor {
            media_type: layer_media_type(layer.compression),
            digest: layer.digest,
            size: layer.size,
            annotations,
        };
        Self { descriptor, diff_id: layer.diff_id }
    }
}

/// The media type of a layer with this compression (OCI image-spec, layer.md).
pub fn layer_media_type(compression: Compression) -> MediaType {
    match compression {
        Compression::Gzip { .. } => MediaType::ImageLayerGzip,
        Compression::Zstd { .. } => MediaType::ImageLayerZstd,
    }
}
