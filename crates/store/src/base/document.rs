//! The manifests and indexes of base images.

use std::fmt::Display;

use oci_read::{
    document::{DOCKER_CONFIG, Descriptor, Document, OCI_CONFIG, Platform},
    unpack::Packing,
};
use pixi_oci_image::Architecture;
use pixi_oci_registry::document::descriptor;

use super::Problem;

/// Reads a document. `declared` is the media type under which it was named, or empty.
pub(crate) fn parse(what: impl Display, declared: &str, bytes: &[u8]) -> Result<Document, Problem> {
    let bad = |reason: String| Problem::document(&what, "an image manifest or image index", reason);
    let document = Document::parse(declared, bytes).map_err(|error| bad(error.to_string()))?;
    if let Document::Manifest(manifest) = &document {
        let config = &manifest.config.media_type;
        if ![OCI_CONFIG, DOCKER_CONFIG].contains(&&**config) {
            return Err(bad(format!("it is not of an image but of {config:?}")));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| Packing::of_media_type(&layer.media_type).is_none()) {
            return Err(bad(format!("it has a layer of the unknown type {:?}", layer.media_type)));
        }
    }
    Ok(document)
}

/// With its digest checked.
pub(crate) fn checked(entry: &Descriptor) -> Result<pixi_oci_image::Descriptor, Problem> {
    descriptor(entry).map_err(|error| Problem::document("a descriptor", "one that can be used", error))
}

/// Whether it is the platform of machines of this architecture.
pub(crate) fn is_for(platform: &Platform, architecture: Architecture) -> bool {
    platform.os == "linux" && platform.architecture == architecture.as_str()
}
