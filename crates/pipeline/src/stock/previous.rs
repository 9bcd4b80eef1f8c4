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
    sync::Arc,
};

use oci_read::{
    document::{Document, ImageConfig},
    limits,
    tar::Reader,
    unpack::unpack,
};
use pixi_oci_formats::layer_table::PLACE;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::{DiffId, Digest};
use pixi_oci_package::{CompleteFacts, WheelFacts};
use pixi_oci_registry::{Error, ErrorKind, Registry, document::References};

use crate::{
    layers::key::KEY_ANNOTATION, stock::cache::KnownArchive, stock::cache::LayerRecord, stock::table::LayerTable,
};

/// OCI image-spec, annotations.md: RFC 3339, which ours write in one form, so that texts are compared as times.
const CREATED: &str = "org.opencontainers.image.created";

/// The package layers of published images, and what is known of their packages.
#[derive(Debug, Default)]
pub struct Previous {
    /// By layer key, in its text form: the layer, and the descriptor of its blob.
    pub layers: BTreeMap<String, (LayerRecord, Descriptor)>,
    /// By the sha256 of the archive.
    pub conda: BTreeMap<String, KnownArchive<CompleteFacts>>,
    /// By `wheel_key`.
    pub wheels: BTreeMap<String, KnownArchive<WheelFacts>>,
    /// Something is no image of ours, or not all of it could be read.
    pub is_partial: bool,
}

/// Of several tags the one whose image says that it was created last; the first of equal ones.
pub async fn newest<'a>(registry: &Registry, references: &'a [String]) -> Result<&'a str, Error> {
    let (mut best, mut newest) = (references.first().map(String::as_str).unwrap_or_default(), String::new());
    for reference in references.iter().filter(|_| references.len() > 1) {
        // It may be gone by now.
        let bytes = match registry.manifest(reference).await {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read?.1,
        };
        let created = created(&bytes).unwrap_or_default();
        if created > newest {
            (best, newest) = (reference, created);
        }
    }
    Ok(best)
}

/// What an index or manifest of ours says. A SIF has no layers for us.
fn created(document: &[u8]) -> Option<String> {
    let document = Document::parse("", document).ok().filter(|document| !document.is_sif())?;
    document.common().annotations.get(CREATED).cloned()
}

/// The tag under which one share of the layers is that are kept as `tag`, of so many.
pub fn share_tag(tag: &str, index: usize, of: usize) -> String {
    format!("{tag}-{index}-of-{of}")
}

/// Whether a tag is one of a share of the layers kept as `of`.
fn is_share(tag: &str, of: &str) -> bool {
    let numbers = tag.strip_prefix(of).and_then(|rest| rest.strip_prefix('-')?.split_once("-of-"));
    numbers.is_some_and(|(index, count)| {
        matches!((index.parse(), count.parse()), (Ok(index), Ok(count)) if share_tag(of, index, count) == tag)
    })
}

/// Reads what `reference` names; where it is a tag that is not there, what shares of layers are kept under it.
pub async fn read_kept(registry: &Registry, reference: &str, scratch: &Path) -> Result<Previous, Error> {
    let missing = match read_previous(registry, reference, scratch).await {
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        read => return read,
    };
    let mut shares = registry.tags().await?;
    shares.retain(|tag| is_share(tag, reference));
    let mut all = Previous::default();
    for tag in shares.iter().take(limits::SHARES) {
        match read_previous(registry, tag, scratch).await {
            // It is gone by now; the others are not.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => all.extend(read?),
        }
    }
    if shares.is_empty() { Err(missing) } else { Ok(all) }
}

/// Reads what `reference`, a tag or digest, names. What is not one of our images has no layers for us.
async fn read_previous(registry: &Registry, reference: &str, scratch: &Path) -> Result<Previous, Error> {
    let mut previous = Previous::default();
    read_images(registry, reference, scratch, |image| {
        let is_read = image.and_then(|image| previous.add(image));
        previous.is_partial |= is_read.is_none();
    })
    .await?;
    Ok(previous)
}

/// An image's documents, as they were read, and its environment layer in a file.
pub struct ImageDocuments {
    pub digest: Digest,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub environment: Option<(File, Descriptor)>,
}

/// Reads the images of an index, or the one that `reference` names, one after the other; `None` stands for what is no image.
/// Of layers only the environment layers are fetched. Gives the digest of what is named.
pub async fn read_images(
    registry: &Registry,
    reference: &str,
    scratch: &Path,
    mut on_image: impl FnMut(Option<ImageDocuments>),
) -> Result<Digest, Error> {
    let root = registry.manifest(reference).await?;
    let digest = root.0.digest;
    match Document::parse("", &root.1) {
        Ok(Document::Index(index)) => {
            for child in index.manifests.iter().take(limits::IMAGES) {
                on_image(read_image(registry, registry.manifest(&child.digest).await?, scratch).await?);
            }
        }
        _ => on_image(read_image(registry, root, scratch).await?),
    }
    Ok(digest)
}

type Found = (Descriptor, Vec<u8>);

async fn read_image(registry: &Registry, found: Found, scratch: &Path) -> Result<Option<ImageDocuments>, Error> {
    let (Descriptor { digest, .. }, manifest) = found;
    let Some((config, layers)) = documents(&manifest) else { return Ok(None) };
    let config = registry.fetch_document(&config).await?;
    let mut fetched = None;
    if let Some(layer) = environment(&layers) {
        let mut file = tempfile::tempfile_in(scratch).map_err(|source| Error::read(scratch, source))?;
        registry.fetch_blob(layer, &mut file).await?;
        fetched = Some((file, layer.clone()));
    }
    Ok(Some(ImageDocuments { digest, manifest, config, environment: fetched }))
}

impl Previous {
    /// Adds what another image has.
    pub fn extend(&mut self, other: Self) {
        self.is_partial |= other.is_partial;
        self.layers.extend(other.layers);
        self.conda.extend(other.conda);
        self.wheels.extend(other.wheels);
    }

    /// Adds what one of our images has.
    fn add(&mut self, image: ImageDocuments) -> Option<()> {
        let (_, layers) = documents(&image.manifest)?;
        let config = ImageConfig::parse(&image.config).unwrap_or_default();
        let diff_ids = config.rootfs.diff_ids.iter().map(|text| text.parse().ok().map(DiffId));
        let diff_ids: Vec<DiffId> = diff_ids.collect::<Option<_>>().unwrap_or_default();
        let (mut file, environment) = image.environment?;
        let table = table(&mut file, environment.size)?;
        let own = package_layers(&layers);
        let known: Vec<_> =
            own.filter_map(|i| Some((i, layers[i].annotations.get(KEY_ANNOTATION)?, &layers[i]))).collect();
        if known.len() != table.layers.len() || diff_ids.len() != layers.len() {
            return None;
        }
        for ((index, key, layer), described) in known.into_iter().zip(table.layers) {
            let record =
                LayerRecord { digest: layer.digest, size: layer.size, diff_id: diff_ids[index], findings: described };
            self.layers.insert(key.clone(), (record, layer.clone()));
        }
        self.conda.extend(table.conda);
        self.wheels.extend(table.wheels);
        Some(())
    }
}

/// The configuration and layers that an image manifest names.
pub fn documents(manifest: &[u8]) -> Option<(Descriptor, Vec<Descriptor>)> {
    match References::of(Document::parse("", manifest).ok()?).ok()? {
        References::Manifest { config, layers } => Some((config, layers)),
        References::Index(_) => None,
    }
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
    layers.get(packages.end).filter(|layer| !packages.is_empty() && layer.size <= limits::TABLE_LAYER)
}

/// The table in an environment layer, whose blob has this size.
pub fn table(file: &mut File, size: u64) -> Option<LayerTable> {
    file.rewind().ok()?;
    let (_, tar) = unpack(file, size, None, &Arc::default()).ok()?;
    // An environment layer is larger only if it is not one of ours.
    let mut reader = Reader::new(tar.take(limits::TABLE_LAYER));
    while let Some(entry) = reader.next_entry().ok()? {
        if &*entry.path == PLACE.as_bytes() {
            return LayerTable::parse(&reader.read_content(limits::TABLE).ok()?).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_from_other_tags() {
        assert!(["latest-1-of-4", "latest-12-of-256"].iter().all(|tag| is_share(tag, "latest")));
        let others = [
            "latest",
            "latest-1",
            "latest-1-of-",
            "latest-01-of-4",
            "latest-+1-of-4",
            "latest-1-of-4-of-5",
            "v1-1-of-4",
        ];
        assert!(!others.iter().any(|tag| is_share(tag, "latest")));
        assert!(is_share(&share_tag("run-1-of-2", 3, 4), "run-1-of-2") && !is_share("run-1-of-2", "run-1-of-2"));
        assert!(!is_share(&share_tag("run-1-of-2", 3, 4), "run"));
    }
}
