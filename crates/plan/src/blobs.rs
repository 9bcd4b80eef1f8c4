//! The blobs of planned images, and what a publication would upload of them.

use std::collections::BTreeMap;

use pixi_oci_image::{Architecture, Descriptor, MediaType};
use pixi_oci_layer::Digest;
use serde::Serialize;

use crate::report::layer::{OtherLayer, PlannedLayerReport};

/// What would be sent to a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationPlan {
    /// `HOST/REPOSITORY`
    pub repository: String,
    pub blobs: usize,
    pub bytes: u64,
    /// Whether all blobs are known. Else the archives of layers that have to be made count in place of these, and blobs of the
    /// base image, and the environment and application layers, may be missing.
    pub exact: bool,
    /// How many blobs the registry links from another of its repositories.
    pub linked: usize,
    pub present: usize,
    /// How many manifests, the index among them, would be sent.
    pub manifests: usize,
    /// The tags that would be set or moved, in this order; none where it is not known what is published, because nobody said which
    /// version it is.
    pub tags: Option<Vec<String>>,
    /// Why it would be refused, as the blocker of `publish` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Why it is not known; then the numbers are 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The blobs of the images of an environment.
#[derive(Debug, Default)]
pub struct PlannedBlobs {
    pub known: BTreeMap<Digest, u64>,
    /// Layers that have to be made: the lengths of their archives, by what tells them apart.
    pub to_build: BTreeMap<String, u64>,
    pub is_incomplete: bool,
    pub bases: Vec<(String, Vec<Digest>)>,
    /// The images, and the digests of the manifests that are known.
    pub images: Vec<(Architecture, Option<Digest>)>,
    /// The index that joins the images, if it is known.
    pub index: Option<Digest>,
}

impl PlannedBlobs {
    /// Adds those of a platform's image. Of `base` and `image` nothing is known if they are `None`.
    pub fn add(
        &mut self,
        layers: &[PlannedLayerReport],
        base: Option<&[OtherLayer]>,
        image: Option<(&Descriptor, &[OtherLayer])>,
    ) {
        for layer in layers {
            match (layer.digest, layer.size) {
                (Some(digest), Some(size)) => drop(self.known.insert(digest, size)),
                _ => {
                    let packages = || {
                        let names = layer.packages.iter().map(|package| package.name.clone());
                        names.chain(layer.part.map(|part| part.to_string())).collect::<Vec<_>>()
                    };
                    let identity = layer.key.clone().unwrap_or_else(|| packages().join(" "));
                    self.to_build.insert(identity, layer.bytes);
                }
            }
        }
        self.is_incomplete |= base.is_none() || image.is_none();
        let other = image.iter().flat_map(|(_, other)| *other).chain(base.unwrap_or_default());
        self.known.extend(other.map(|layer| (layer.digest, layer.size)));
        self.known.extend(image.map(|(config, _)| (config.digest, config.size)));
    }

    /// Those that a registry can be asked for.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let blob = |(digest, size): (&Digest, &u64)| Descriptor {
            media_type: MediaType::ImageLayerGzip,
            digest: *digest,
            size: *size,
            annotations: BTreeMap::new(),
        };
        self.known.iter().map(blob).collect()
    }
}
