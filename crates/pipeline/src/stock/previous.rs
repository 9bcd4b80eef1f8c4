//! An image that was published before, as a source of layers.
//!
//! **What is trusted:** the repository that is named. Its manifests, configurations and environment layers are checked
//! against their digests; that a layer is what its key says cannot be checked without making it, and
//! `pixi-oci build --no-cache-from` makes all layers.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek},
    ops::Range,
    path::Path,
};

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::DiffId;
use pixi_oci_package::{CompleteFacts, WheelFacts};
use pixi_oci_registry::{Error, Registry};
use serde_json::Value;

use crate::{
    layers::key::KEY_ANNOTATION, stock::cache::Known, stock::cache::LayerRecord, stock::table::LayerTable,
    stock::table::PLACE,
};

/// An index of more images is none of ours.
pub const MAX_IMAGES: usize = 16;
/// An environment layer is larger only if it is none of ours.
const MAX_LAYER: u64 = 256 << 20;
const MAX_TABLE: u64 = 512 << 20;

/// The package layers of published images, and what is known of their packages.
#[derive(Debug, Default)]
pub struct Previous {
    /// By [layer key](crate::layers::key::LayerKey), in its text form: the layer, and the descriptor of its blob.
    pub layers: BTreeMap<String, (LayerRecord, Descriptor)>,
    /// By the sha256 of the archive.
    pub conda: BTreeMap<String, Known<CompleteFacts>>,
    /// By [`wheel_key`](crate::stock::cache::wheel_key).
    pub wheels: BTreeMap<String, Known<WheelFacts>>,
}

/// Reads what `reference`, a tag or digest, names. What is not one of our images has no layers for us.
///
/// # Errors
///
/// The registry does not answer, or sends something else than it says.
pub async fn read_previous(registry: &Registry, reference: &str, scratch: &Path) -> Result<Previous, Error> {
    let mut previous = Previous::default();
    let (_, root) = registry.manifest(reference).await?;
    let root: Value = serde_json::from_slice(&root).unwrap_or_default();
    match root["manifests"].as_array() {
        Some(children) => {
            for child in children.iter().take(MAX_IMAGES) {
                let Some(digest) = child["digest"].as_str() else { continue };
                let (_, manifest) = registry.manifest(digest).await?;
                let manifest = serde_json::from_slice(&manifest).unwrap_or_default();
                previous.image(registry, &manifest, scratch).await?;
            }
        }
        None => previous.image(registry, &root, scratch).await?,
    }
    Ok(previous)
}

impl Previous {
    async fn image(&mut self, registry: &Registry, manifest: &Value, scratch: &Path) -> Result<(), Error> {
        let Some((config, layers)) = documents(manifest) else { return Ok(()) };
        let keys: Vec<Option<&str>> =
            layers.iter().map(|layer| layer.annotations.get(KEY_ANNOTATION).map(String::as_str)).collect();
        let Some(environment) = environment(&layers) else { return Ok(()) };
        let config: Value = serde_json::from_slice(&registry.fetch_document(&config).await?).unwrap_or_default();
        let diff_ids: Vec<DiffId> = serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap_or_default();
        let write = |source| Error::read(scratch, source);
        let mut file = tempfile::tempfile_in(scratch).map_err(write)?;
        registry.fetch_blob(environment, &mut file).await?;
        let Some(table) = table(&mut file, &environment.media_type) else { return Ok(()) };
        let own = package_layers(&layers);
        let known: Vec<_> = own.filter_map(|i| Some((i, keys[i]?, &layers[i]))).collect();
        if known.len() != table.layers.len() || diff_ids.len() != layers.len() {
            return Ok(());
        }
        for ((index, key, layer), described) in known.into_iter().zip(&table.layers) {
            let record = described.record(layer.digest, layer.size, diff_ids[index]);
            self.layers.insert(key.to_owned(), (record, layer.clone()));
        }
        self.conda.extend(table.conda);
        self.wheels.extend(table.wheels);
        Ok(())
    }
}

/// The configuration and layers that an image manifest names.
pub fn documents(manifest: &Value) -> Option<(Descriptor, Vec<Descriptor>)> {
    let descriptor = |value: &Value| {
        Some(Descriptor {
            media_type: value["mediaType"].as_str()?.into(),
            digest: value["digest"].as_str()?.parse().ok()?,
            size: value["size"].as_u64()?,
            annotations: serde_json::from_value(value["annotations"].clone()).unwrap_or_default(),
        })
    };
    let layers = manifest["layers"].as_array()?.iter().map(descriptor).collect::<Option<Vec<_>>>()?;
    Some((descriptor(&manifest["config"])?, layers))
}

/// The positions of the package layers. A base image that is one of ours has some, too, below its environment layer.
pub fn package_layers(layers: &[Descriptor]) -> Range<usize> {
    let has_key = |layer: &Descriptor| layer.annotations.contains_key(KEY_ANNOTATION);
    let end = layers.iter().rposition(has_key).map_or(0, |last| last + 1);
    let begin = layers[..end].iter().rposition(|layer| !has_key(layer)).map_or(0, |last| last + 1);
    begin..end
}

/// The environment layer, which is the one above the package layers.
pub fn environment(layers: &[Descriptor]) -> Option<&Descriptor> {
    let packages = package_layers(layers);
    layers.get(packages.end).filter(|layer| !packages.is_empty() && layer.size <= MAX_LAYER)
}

/// The table in an environment layer.
pub fn table(file: &mut File, media_type: &MediaType) -> Option<LayerTable> {
    file.rewind().ok()?;
    let plain: Box<dyn Read> = match media_type {
        MediaType::ImageLayerGzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        MediaType::ImageLayerZstd => Box::new(zstd::Decoder::new(file).ok()?),
        _ => return None,
    };
    let mut archive = tar::Archive::new(plain.take(MAX_TABLE));
    for entry in archive.entries().ok()? {
        let entry = entry.ok()?;
        if entry.path_bytes().as_ref() == PLACE.trim_start_matches('/').as_bytes() {
            let mut bytes = Vec::new();
            entry.take(MAX_TABLE).read_to_end(&mut bytes).ok()?;
            return LayerTable::parse(&bytes);
        }
    }
    None
}
