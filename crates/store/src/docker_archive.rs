//! The tar of `docker save`, the transport `docker-archive:`.
//!
//! It holds one image: `manifest.json` names the image configuration and the layers. Layers keep their compressed bytes,
//! gzip and zstd: `docker load`, `podman load`, containerd and skopeo look at the first bytes of a layer and not at its
//! name. (docker reads zstd since 23.0, moby#41759.) The configuration is the same document as everywhere else, and so
//! is its digest, the image id.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pixi_oci_image::{Descriptor, MediaType, canonical};
use pixi_oci_layer::Digest;
use serde_json::json;

use crate::{
    Destination, Error,
    archive::{self, ArchiveEntry, Collecting},
    image_name::docker_name,
};

#[derive(Default)]
struct Roots {
    image: Option<Digest>,
    names: BTreeSet<String>,
}

/// The archive of one build, to be written to `path`.
pub(crate) fn docker_archive(path: PathBuf) -> impl Destination {
    let roots = Mutex::new(Roots::default());
    Collecting::new(path, move |blobs, root, bytes, name| {
        let name = name.map(docker_name).transpose()?;
        let images = blobs.put_root(root, bytes)?;
        let [(_, config, layers)] = &images[..] else {
            return Err(Error::OneImage { path: blobs.path.clone(), count: images.len() });
        };

        let mut roots = roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.image.is_some_and(|image| image != config.digest) {
            return Err(Error::OneImage { path: blobs.path.clone(), count: 2 });
        }
        roots.image = Some(config.digest);
        roots.names.extend(name);

        let names: BTreeMap<Digest, String> = std::iter::once((config.digest, config_name(config)))
            .chain(layers.iter().map(|layer| (layer.digest, layer_name(layer))))
            .collect();
        let layers: Vec<String> = layers.iter().map(layer_name).collect();
        let manifest = json!([{ "Config": config_name(config), "RepoTags": roots.names, "Layers": layers }]);
        let mut entries = blobs.entries(|blob| names.get(&blob.digest).cloned());
        entries.push(ArchiveEntry::bytes("manifest.json", canonical(manifest)));
        archive::write(&blobs.path, entries)
    })
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
