//! One layer of a base image: fetched once, checked once, compressed once if it is a plain tar.

use std::{
    io::{Seek, Write},
    path::PathBuf,
    sync::Arc,
};

use oci_read::{Budget, document::Descriptor as Entry, unpack::Packing};
use pixi_oci_image::{Descriptor, LayerEntry, MediaType, layer_media_type};
use pixi_oci_layer::{Compression, DiffId, DigestWriter, LAYER_FORMAT_VERSION};
use tempfile::NamedTempFile;

use super::{Problem, Source, document::checked, listing::Listing, store::Store};
use crate::Error;

/// A layer of a base image and the file with its compressed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLayer {
    /// As the image's manifest and configuration name it, with an OCI media type.
    pub entry: LayerEntry,
    /// The blob, in the cache.
    pub path: PathBuf,
}

/// Has a layer in the store, whose content is the blob of `entry` and whose tar is `diff_id`.
pub(crate) async fn obtain(
    source: &Source,
    store: &Store,
    entry: &Entry,
    diff_id: DiffId,
    compression: Compression,
    budget: Arc<Budget>,
) -> Result<BaseLayer, Problem> {
    let blob = checked(entry)?;
    if let Some(known) = known(store, &blob, diff_id, compression)? {
        return Ok(known);
    }
    let staged = source.layer(&blob, store.staging()?).await?;
    let store = store.clone();
    super::blocking(move || take_over(&store, blob, diff_id, compression, staged, &budget)).await
}

/// The layer, if an earlier build has had it.
fn known(
    store: &Store,
    blob: &Descriptor,
    diff_id: DiffId,
    compression: Compression,
) -> Result<Option<BaseLayer>, Problem> {
    let compressed = store.compressed(&blob.digest, &key(compression));
    let here = compressed.unwrap_or_else(|| blob.clone());
    if !store.has(&here.digest, here.size) {
        return Ok(None);
    }
    let Some(listing) = store.listing(&here.digest) else { return Ok(None) };
    check_diff_id(blob, &listing, diff_id)?;
    Ok(Some(base_layer(store, here, blob, &listing)))
}

/// Checks what was fetched and gives it its place. The bytes are those of the blob: its source has compared them.
fn take_over(
    store: &Store,
    blob: Descriptor,
    diff_id: DiffId,
    compression: Compression,
    staged: NamedTempFile,
    budget: &Arc<Budget>,
) -> Result<BaseLayer, Problem> {
    let listing =
        Listing::read(staged.path(), budget).map_err(|source| Problem::Layer { layer: blob.digest, source })?;
    check_diff_id(&blob, &listing, diff_id)?;
    if listing.packing != Packing::Plain {
        store.adopt(staged, &blob.digest)?;
        store.put_listing(&blob.digest, &listing);
        return Ok(base_layer(store, blob.clone(), &blob, &listing));
    }
    let (compressed, staged) = compress(store, staged, compression)?;
    let listing = listing.compressed_by(compression);
    store.adopt(staged, &compressed.digest)?;
    store.put_listing(&compressed.digest, &listing);
    store.put_compressed(&blob.digest, &key(compression), &compressed);
    Ok(base_layer(store, compressed, &blob, &listing))
}

fn compress(
    store: &Store,
    mut tar: NamedTempFile,
    compression: Compression,
) -> Result<(Descriptor, NamedTempFile), Problem> {
    let mut sink = DigestWriter::new(store.staging()?);
    tar.rewind().map_err(Error::io("read", tar.path()))?;
    let compressed = pixi_oci_layer::compress(&mut tar, &mut sink, compression).and_then(|()| sink.flush());
    compressed.map_err(Error::io("compress", tar.path()))?;
    let (digest, size, staged) = sink.finish();
    Ok((
        Descriptor { media_type: layer_media_type(compression), digest, size, annotations: Default::default() },
        staged,
    ))
}

fn base_layer(store: &Store, here: Descriptor, named: &Descriptor, listing: &Listing) -> BaseLayer {
    let path = store.blob_path(&here.digest);
    // Annotations about the blob (zstd:chunked, eStargz) are true of these bytes only.
    let annotations = if here.digest == named.digest { named.annotations.clone() } else { Default::default() };
    let descriptor = Descriptor { media_type: media_type(listing.packing), annotations, ..here };
    BaseLayer { entry: LayerEntry { descriptor, diff_id: listing.diff_id() }, path }
}

fn media_type(packing: Packing) -> MediaType {
    match packing {
        Packing::Plain => MediaType::ImageLayer,
        Packing::Gzip => MediaType::ImageLayerGzip,
        Packing::Zstd => MediaType::ImageLayerZstd,
    }
}

fn check_diff_id(blob: &Descriptor, listing: &Listing, expected: DiffId) -> Result<(), Problem> {
    if listing.diff_id() == expected {
        return Ok(());
    }
    Err(Problem::DiffId { layer: blob.digest, expected, found: listing.diff_id() })
}

/// Equal keys, equal compressed bytes.
fn key(compression: Compression) -> String {
    format!("{compression}-{LAYER_FORMAT_VERSION}")
}
