//! Images of several architectures under one name.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{Descriptor, Error, Image, MediaType, Platform, canonical, settings::check_metadata};

/// An image index (OCI image-spec, image-index.md) and the images it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The document.
    pub bytes: Vec<u8>,
    /// Names `bytes`.
    pub descriptor: Descriptor,
    /// Sorted by architecture, as in the document.
    pub images: Vec<Image>,
}

impl Index {
    /// Joins images, in any order, into one index.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyIndex`] without an image; [`Error::DuplicateArchitecture`] for two of one architecture, whatever
    /// their variants, because runtimes disagree about which they take; [`Error::Metadata`].
    pub fn new(mut images: Vec<Image>, annotations: &BTreeMap<String, String>) -> Result<Self, Error> {
        images.sort_by_key(|image| image.platform.architecture);
        if images.is_empty() {
            return Err(Error::EmptyIndex);
        }
        if let Some(pair) =
            images.windows(2).find(|pair| pair[0].platform.architecture == pair[1].platform.architecture)
        {
            return Err(Error::DuplicateArchitecture { architecture: pair[0].platform.architecture });
        }
        let children: Vec<_> = images.iter().map(|image| (&image.manifest, &image.platform)).collect();
        let bytes = index_document(&children, annotations)?;
        Ok(Self { descriptor: Descriptor::of(MediaType::ImageIndex, &bytes), bytes, images })
    }
}

/// The document of an image index of these image manifests, in this order. [`Index::new`] makes the same of images whose
/// layers are at hand; this is for images that were built elsewhere.
///
/// # Errors
///
/// [`Error::Metadata`].
pub fn index_document(
    manifests: &[(&Descriptor, &Platform)],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    of_entries(manifests, None, annotations)
}

/// The same of artifacts of one type. The type is with each of them, as Apptainer's indexes have none themselves.
pub(crate) fn of_entries(
    manifests: &[(&Descriptor, &Platform)],
    artifact_type: Option<&str>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    check_metadata("annotation", annotations)?;
    let manifests: Vec<_> = manifests
        .iter()
        .map(|(manifest, platform)| {
            let mut entry = json!(manifest);
            entry["platform"] = platform.to_json();
            if let Some(artifact_type) = artifact_type {
                entry["artifactType"] = artifact_type.into();
            }
            entry
        })
        .collect();
    let mut document = json!({ "schemaVersion": 2, "mediaType": MediaType::ImageIndex, "manifests": manifests });
    if !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
    Ok(canonical(document))
}
