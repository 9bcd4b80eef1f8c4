//! SIFs as artifacts of a registry, in the form that `apptainer pull oras://` takes (apptainer, internal/pkg/client/oras):
//! one layer of its type, and an empty configuration.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{Descriptor, Error, MediaType, Platform, canonical, index, settings::check_metadata};

/// The type of the layer, and of the artifact.
const LAYER: &str = "application/vnd.sylabs.sif.layer.v1.sif";
const CONFIG: &str = "application/vnd.sylabs.sif.config.v1+json";
/// Under which name a file is pulled.
const TITLE: &str = "org.opencontainers.image.title";

/// The bytes of every SIF's configuration.
pub const SIF_CONFIG: &[u8] = b"{}";

/// Names [`SIF_CONFIG`].
pub fn sif_config() -> Descriptor {
    Descriptor::of(MediaType::Other(CONFIG.into()), SIF_CONFIG)
}

/// The layer that a file with these bytes is; of its descriptor only digest and size are looked at.
pub fn sif_layer(file: &Descriptor, name: &str) -> Descriptor {
    let annotations = BTreeMap::from([(TITLE.to_owned(), name.to_owned())]);
    Descriptor { media_type: MediaType::Other(LAYER.into()), annotations, ..file.clone() }
}

/// The manifest of a SIF. `subject` is the image that it was made of.
///
/// # Errors
///
/// [`Error::Metadata`].
pub fn sif_manifest(
    layer: &Descriptor,
    subject: Option<&Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    check_metadata("annotation", annotations)?;
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "artifactType": LAYER,
        "config": sif_config(),
        "layers": [layer],
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!(subject);
    }
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    Ok(canonical(manifest))
}

/// The index of SIFs, in this order.
///
/// # Errors
///
/// [`Error::Metadata`].
pub fn sif_index(
    manifests: &[(&Descriptor, &Platform)],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    index::of_entries(manifests, Some(LAYER), annotations)
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::Digest;
    use serde_json::Value;

    use super::*;
    use crate::Architecture;

    #[test]
    fn what_apptainer_writes() {
        let layer = sif_layer(&Descriptor::of(MediaType::ImageLayer, b"sif"), "tool-amd64.sif");
        let image = Descriptor::of(MediaType::ImageManifest, b"image");
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let bytes = sif_manifest(&layer, Some(&image), &annotations).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        // The digest that apptainer and oras have for it.
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(
            manifest,
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.sylabs.sif.layer.v1.sif",
                "config": {"mediaType": "application/vnd.sylabs.sif.config.v1+json", "digest": empty, "size": 2},
                "layers": [{
                    "mediaType": "application/vnd.sylabs.sif.layer.v1.sif",
                    "digest": Digest::of(b"sif").to_string(),
                    "size": 3,
                    "annotations": {"org.opencontainers.image.title": "tool-amd64.sif"},
                }],
                "subject": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": Digest::of(b"image").to_string(),
                    "size": 5,
                },
                "annotations": {"a": "b"},
            })
        );
        let descriptor = Descriptor::of(MediaType::ImageManifest, &bytes);
        let index = sif_index(&[(&descriptor, &Platform::new(Architecture::Amd64))], &annotations).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(index["manifests"][0]["artifactType"], LAYER);
        assert_eq!(index["manifests"][0]["platform"], json!({"architecture": "amd64", "os": "linux"}));
        assert_eq!(index.get("artifactType"), None);
        assert!(sif_manifest(&layer, None, &BTreeMap::new()).unwrap().len() < bytes.len());
    }
}
