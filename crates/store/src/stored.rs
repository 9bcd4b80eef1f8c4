//! Images that are in an OCI layout already, to be pushed as they are: every document keeps its bytes.

use std::{collections::BTreeMap, path::Path};

use oci_read::document::{self as read, Common, ImageConfig};
use pixi_oci_image::{Architecture, Descriptor, MediaType, Platform};
use pixi_oci_registry::push::{Document, PushImage, PushLayer, PushPlan};

use crate::base::{LayoutImage, Local, Problem, checked, parse};

/// What a name of an OCI layout leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImages {
    /// The image index, or the image manifest where the name is that of one image.
    pub root: Document,
    /// The images, in the index's order.
    pub images: Vec<StoredImage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// What it runs on; `None` for what is no image of a machine we know, such as an attestation.
    pub platform: Option<Platform>,
    /// Its documents, and where its layers are.
    pub image: PushImage,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot use what is in {reference}")]
pub struct StoredError {
    reference: String,
    source: Box<Problem>,
}

/// Reads an image index, or an image, of the OCI layout in `dir`. Documents are checked against their digests; of the
/// layers only the sizes are looked at, because they are hashed when they are sent.
///
/// # Errors
///
/// Something is missing or malformed, or there are several images and none was named.
pub fn read_stored(dir: &Path, image: &LayoutImage) -> Result<StoredImages, StoredError> {
    read(dir, image)
        .map_err(|source| StoredError { reference: format!("oci:{}", dir.display()), source: Box::new(source) })
}

fn read(dir: &Path, image: &LayoutImage) -> Result<StoredImages, Problem> {
    let layout = Local::layout(dir, image)?;
    let roots = layout.roots();
    let [root] = &roots[..] else {
        let reason = "it has several images of this name; give the digest of one, oci:DIR@sha256:…";
        return Err(Problem::document(dir.display(), "a layout with one image of this name", reason));
    };
    let (root, parsed) = document(&layout, root)?;
    let images = match parsed {
        read::Document::Manifest(manifest) => vec![stored(&layout, root.clone(), &manifest)?],
        read::Document::Index(index) => {
            index.manifests.iter().map(|entry| child(&layout, entry)).collect::<Result<_, _>>()?
        }
    };
    Ok(StoredImages { root, images })
}

fn child(layout: &Local, entry: &read::Descriptor) -> Result<StoredImage, Problem> {
    match document(layout, entry)? {
        (manifest, read::Document::Manifest(parsed)) => stored(layout, manifest, &parsed),
        (index, read::Document::Index(_)) => {
            let reason = "it is an index in an index, which Gitea and others refuse";
            Err(Problem::document(index.descriptor.digest, "an image manifest", reason))
        }
    }
}

/// The document that an entry names, with its media type from itself where the entry has none.
fn document(layout: &Local, entry: &read::Descriptor) -> Result<(Document, read::Document), Problem> {
    let bytes = layout.document(entry)?;
    let mut descriptor = checked(entry)?;
    let parsed = parse(descriptor.digest, &entry.media_type, &bytes)?;
    if entry.media_type.is_empty() {
        descriptor.media_type = match (parsed.common(), &parsed) {
            (Common { media_type, .. }, _) if !media_type.is_empty() => media_type.as_str().into(),
            (_, read::Document::Manifest(_)) => MediaType::ImageManifest,
            (_, read::Document::Index(_)) => MediaType::ImageIndex,
        };
    }
    // What a layout says of an image, its name there, is no part of the image.
    descriptor.annotations = BTreeMap::new();
    Ok((Document { descriptor, bytes }, parsed))
}

fn stored(layout: &Local, manifest: Document, parsed: &read::Manifest) -> Result<StoredImage, Problem> {
    let config = Document { descriptor: checked(&parsed.config)?, bytes: layout.document(&parsed.config)? };
    let layer = |entry: &read::Descriptor| -> Result<PushLayer, Problem> {
        let descriptor = checked(entry)?;
        let source = layout.blob_path(&descriptor.digest);
        check_size(&source, &descriptor)?;
        Ok(PushLayer { descriptor, source: Some(source) })
    };
    let layers = parsed.layers.iter().map(layer).collect::<Result<_, _>>()?;
    // The configuration's, which is what runtimes compare with.
    Ok(StoredImage { platform: platform_in(&config.bytes), image: PushImage { manifest, config, layers } })
}

fn check_size(path: &Path, blob: &Descriptor) -> Result<(), Problem> {
    let size = std::fs::metadata(path).map_err(crate::Error::io("read", path))?.len();
    crate::destination::check(blob, || path.display().to_string(), blob.digest, size)?;
    Ok(())
}

/// The platform that an image configuration says, if images can be made for it.
pub fn platform_in(config: &[u8]) -> Option<Platform> {
    let platform = ImageConfig::parse(config).ok()?.platform();
    let architecture: Architecture = platform.architecture.parse().ok()?;
    let variant = platform.variant().map(str::to_owned);
    (platform.os == Platform::OS).then_some(Platform { architecture, variant })
}

impl StoredImages {
    pub fn is_index(&self) -> bool {
        self.images.first().is_none_or(|stored| stored.image.manifest != self.root)
    }

    /// What is pushed, without a tag yet.
    pub fn push_plan(&self) -> PushPlan {
        let images = self.images.iter().map(|stored| stored.image.clone()).collect();
        PushPlan::of(images, self.is_index().then(|| self.root.clone()))
    }

    pub fn annotations(&self) -> BTreeMap<String, String> {
        read::Document::parse("", &self.root.bytes).map(|root| root.common().annotations.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::Digest;
    use serde_json::json;

    use super::*;
    use crate::{BlobSource, Destination, OciLayout};

    /// An index of one image with one layer, named `v1`; gives the index's and the layer's descriptors.
    fn layout(dir: &Path) -> (Descriptor, Descriptor) {
        let layout = OciLayout::open(dir).unwrap();
        let put = |media_type: MediaType, bytes: &[u8]| {
            let descriptor = Descriptor::of(media_type, bytes);
            layout.put_blob(&descriptor, BlobSource::Bytes(bytes)).unwrap();
            descriptor
        };
        let layer = put(MediaType::ImageLayerGzip, b"a layer");
        let config = put(MediaType::ImageConfig, br#"{"architecture":"arm64","os":"linux","variant":"v8"}"#);
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MediaType::ImageManifest, "config": config, "layers": [layer]});
        let manifest = put(MediaType::ImageManifest, manifest.to_string().as_bytes());
        // Foreign order and spaces: the bytes have to stay.
        let index = format!(
            r#"{{ "manifests": [{}], "schemaVersion": 2, "annotations": {{"a": "b"}}, "mediaType": "{}" }}"#,
            json!(manifest),
            MediaType::ImageIndex
        );
        let root = Descriptor::of(MediaType::ImageIndex, index.as_bytes());
        layout.put_root(&root, index.as_bytes(), Some("v1")).unwrap();
        (root, layer)
    }

    #[test]
    fn what_is_stored_is_pushed_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (root, layer) = layout(dir.path());
        for image in [LayoutImage::Only, LayoutImage::Tag("v1".into()), LayoutImage::Digest(root.digest)] {
            let stored = read_stored(dir.path(), &image).unwrap();
            assert_eq!((stored.root.descriptor.clone(), stored.is_index()), (root.clone(), true));
            assert_eq!(Digest::of(&stored.root.bytes), root.digest);
            assert_eq!(stored.annotations(), BTreeMap::from([("a".to_owned(), "b".to_owned())]));
            assert_eq!(stored.images[0].platform.as_ref().unwrap().to_string(), "linux/arm64/v8");
            let pushed = &stored.push_plan().images[0];
            assert_eq!(pushed.layers[0].descriptor, layer);
            assert_eq!(std::fs::read(pushed.layers[0].source.as_ref().unwrap()).unwrap(), b"a layer");
        }
        let stored = read_stored(dir.path(), &LayoutImage::Only).unwrap();
        let manifest = LayoutImage::Digest(stored.images[0].image.manifest.descriptor.digest);
        let single = read_stored(dir.path(), &manifest).unwrap();
        assert!(!single.is_index() && single.push_plan().index.is_none());
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (root, layer) = layout(dir.path());
        assert!(read_stored(dir.path(), &LayoutImage::Tag("v2".into())).is_err());
        let blobs = dir.path().join("blobs/sha256");
        std::fs::write(blobs.join(layer.digest.hex()), b"longer than it was").unwrap();
        assert!(read_stored(dir.path(), &LayoutImage::Only).is_err());
        std::fs::remove_file(blobs.join(layer.digest.hex())).unwrap();
        assert!(read_stored(dir.path(), &LayoutImage::Only).is_err());
        std::fs::write(blobs.join(root.digest.hex()), b"{}").unwrap();
        assert!(read_stored(dir.path(), &LayoutImage::Only).is_err());
        assert!(read_stored(&dir.path().join("nowhere"), &LayoutImage::Only).is_err());
    }
}
