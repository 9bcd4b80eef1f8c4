//! Small images made in code, and the plainest way to store them.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::{checker::digest, client};

/// An image index with everything below it.
pub struct Image {
    /// Layers and configs by digest.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The manifests of the architectures, then the index: digest and bytes.
    pub manifests: Vec<(String, Vec<u8>)>,
}

impl Image {
    /// Of the index.
    pub fn digest(&self) -> &str {
        &self.manifests.last().unwrap().0
    }
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// For so many architectures, with so many layers of few bytes each.
pub fn image(architectures: usize, layers: usize) -> Image {
    of_layers(architectures, layers, |architecture, layer| {
        // Two blocks of zeros are the end of a tar; what is before makes it unlike the others.
        let tar = [format!("{architecture} {layer}").into_bytes(), vec![0; 1024]].concat();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&tar).unwrap();
        (digest(&tar), gzip.finish().unwrap())
    })
}

/// For so many architectures, with layers of these lengths. They are no archives: no registry looks.
pub fn image_of(architectures: usize, lengths: &[usize]) -> Image {
    of_layers(architectures, lengths.len(), |architecture, layer| {
        let mut bytes = format!("{architecture} {layer}").into_bytes();
        bytes.resize(lengths[layer], b'.');
        (digest(&bytes), bytes)
    })
}

/// `layer` gives diff id and blob of a layer of an architecture.
fn of_layers(architectures: usize, layers: usize, layer: impl Fn(&str, usize) -> (String, Vec<u8>)) -> Image {
    let (mut blobs, mut manifests, mut children) = (BTreeMap::new(), Vec::new(), Vec::new());
    for architecture in ["amd64", "arm64", "riscv64"].iter().take(architectures) {
        let (mut descriptors, mut diff_ids) = (Vec::new(), Vec::new());
        for number in 0..layers {
            let (diff_id, blob) = layer(architecture, number);
            diff_ids.push(diff_id);
            descriptors.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(&blob), "size": blob.len(),
            }));
            blobs.insert(digest(&blob), blob);
        }
        let config = json!({
            "os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len(),
            },
        });
        let manifest = manifest.to_string().into_bytes();
        children.push(json!({
            "mediaType": MANIFEST, "digest": digest(&manifest), "size": manifest.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
        blobs.insert(digest(&config), config);
        manifests.push((digest(&manifest), manifest));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string().into_bytes();
    manifests.push((digest(&index), index));
    Image { blobs, manifests }
}

/// Stores everything of `image` and points `tags` at it, with requests that every registry takes.
pub fn upload(address: &str, repository: &str, image: &Image, tags: &[&str]) {
    for (digest, bytes) in &image.blobs {
        let session = client::request(address, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        assert_eq!(session.status, 202, "{session:?}");
        let location = session.header("location").unwrap();
        let location = location.strip_prefix(&format!("http://{address}")).unwrap_or(location);
        let join = if location.contains('?') { '&' } else { '?' };
        let stored = client::request(address, "PUT", &format!("{location}{join}digest={digest}"), &[], bytes);
        assert_eq!(stored.status, 201, "{stored:?}");
    }
    let (index, _) = image.manifests.last().unwrap();
    let by_digest = image.manifests.iter().map(|(digest, bytes)| (digest.as_str(), bytes));
    let by_tag = tags.iter().map(|tag| (*tag, &image.manifests.last().unwrap().1));
    for (name, bytes) in by_digest.chain(by_tag) {
        let media_type = if digest(bytes) == *index { INDEX } else { MANIFEST };
        let target = format!("/v2/{repository}/manifests/{name}");
        let stored = client::request(address, "PUT", &target, &[("Content-Type", media_type)], bytes);
        assert_eq!(stored.status, 201, "{stored:?}");
    }
}
