//! The tar of `docker save`, the transport `docker-archive:`.
//!
//! It holds one image: `manifest.json` names the image configuration and the layers. Layers keep their compressed bytes,
//! gzip and zstd: `docker load`, `podman load`, containerd and skopeo look at the first bytes of a layer and not at its
//! name. (docker reads zstd since 23.0, moby#41759.) The configuration is the same document as everywhere else, and so
//! is its digest, the image id.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pixi_oci_image::{Descriptor, MediaType, canonical};
use pixi_oci_layer::Digest;
use serde_json::json;

use crate::{
    BlobSource, Destination, Error, archive,
    archive::{ArchiveEntry, Collection},
    target::docker_name,
};

/// The archive of one build. The file is written, or replaced, when a root is put.
#[derive(Debug)]
pub struct DockerArchive {
    path: PathBuf,
    blobs: Collection,
    roots: Mutex<Roots>,
}

/// The image and its names.
#[derive(Debug, Default)]
struct Roots {
    image: Option<Digest>,
    names: BTreeSet<String>,
}

impl DockerArchive {
    /// An archive that will be written to `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), blobs: Collection::default(), roots: Mutex::default() }
    }
}

impl Destination for DockerArchive {
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.blobs.has(blob))
    }

    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        self.blobs.put(blob, source)
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.blobs.put_document(manifest, bytes, &self.path).map(drop)
    }

    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error> {
        let name = name.map(docker_name).transpose()?;
        let images = self.blobs.put_root(root, bytes, &self.path)?;
        let [(_, config, layers)] = &images[..] else {
            return Err(Error::OneImage { path: self.path.clone(), count: images.len() });
        };

        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.image.is_some_and(|image| image != config.digest) {
            return Err(Error::OneImage { path: self.path.clone(), count: 2 });
        }
        roots.image = Some(config.digest);
        roots.names.extend(name);

        let names: BTreeMap<Digest, String> = std::iter::once((config.digest, config_name(config)))
            .chain(layers.iter().map(|layer| (layer.digest, layer_name(layer))))
            .collect();
        let layers: Vec<String> = layers.iter().map(layer_name).collect();
        let manifest = json!([{ "Config": config_name(config), "RepoTags": roots.names, "Layers": layers }]);
        let mut entries = self.blobs.entries(|blob| names.get(&blob.digest).cloned());
        entries.push(ArchiveEntry::bytes("manifest.json", canonical(manifest)));
        archive::write(&self.path, entries)
    }
}

fn config_name(config: &Descriptor) -> String {
    format!("{}.json", config.digest.hex())
}

fn layer_name(layer: &Descriptor) -> String {
    let ending = match layer.media_type {
        MediaType::ImageLayerGzip => "tar.gz",
        MediaType::ImageLayerZstd => "tar.zst",
        _ => "tar",
    };
    format!("{}.{ending}", layer.digest.hex())
}
