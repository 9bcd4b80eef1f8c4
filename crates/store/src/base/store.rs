//! What is kept of base images on this machine.
//!
//! ```text
//! CACHE/blobs/HEX                  a manifest, an index, a configuration or a compressed layer, by its SHA-256
//!       listings/HEX.json          what is in the layer HEX; it is there once the layer's diff id has been checked
//!       compressed/HEX-gzip:6.json which blob the plain tar HEX became
//!       resolved/HEX.json          what a registry reference meant last; HEX is the SHA-256 of the reference
//! ```
//!
//! Every file comes by rename and is complete. Blobs were hashed when they came; they are copied from here through
//! [`publish`](crate::publish), which hashes again.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::document::MAX_DOCUMENT;
use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use super::skopeo;
use crate::{Error, staging};

const STAGING_PREFIX: &str = ".new-";
/// A listing has about 100 bytes for each file of a layer.
const MAX_RECORD: u64 = 1 << 30;

/// The cache of base images. Several processes may use it at once.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the cache and removes what killed processes left in it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        for part in ["blobs", "listings", "compressed", "resolved"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(Error::io("create", &part))?;
        }
        let swept = staging::sweep(dir, STAGING_PREFIX).and_then(|()| skopeo::sweep(dir));
        swept.map_err(Error::io("clean up", dir))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// A file that is not finished yet; it is removed when it is dropped.
    pub(crate) fn staging(&self) -> Result<NamedTempFile, Error> {
        staging::create(&self.dir, STAGING_PREFIX).map_err(Error::io("create a file in", &self.dir))
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.hex())
    }

    /// Makes a staged file the blob `digest`, which is the digest that was computed when it was written.
    pub(crate) fn adopt(&self, staged: NamedTempFile, digest: &Digest) -> Result<(), Error> {
        self.rename(staged, &self.blob_path(digest))
    }

    /// Whether the blob is there, with its right size.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// A document that is here. A damaged one counts as missing, so that it is fetched again.
    pub(crate) fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = read_at_most(&self.blob_path(digest), MAX_DOCUMENT).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a document.
    pub(crate) fn put_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.write(&self.blob_path(digest), bytes)
    }

    /// What is in a layer.
    pub(crate) fn listing<T: DeserializeOwned>(&self, layer: &Digest) -> Option<T> {
        self.record(&self.listing_path(layer))
    }

    /// Keeps what is in a layer.
    pub(crate) fn put_listing(&self, layer: &Digest, listing: &impl Serialize) -> Result<(), Error> {
        self.put_record(&self.listing_path(layer), listing)
    }

    /// Which blob a plain tar became by this compression.
    pub(crate) fn compressed(&self, tar: &Digest, compression: &str) -> Option<Descriptor> {
        let record: CompressedRecord = self.record(&self.compressed_path(tar, compression))?;
        let media_type = record.media_type.as_str().into();
        Some(Descriptor { media_type, digest: record.digest, size: record.size, annotations: Default::default() })
    }

    /// Keeps which blob a plain tar became.
    pub(crate) fn put_compressed(&self, tar: &Digest, compression: &str, blob: &Descriptor) -> Result<(), Error> {
        let media_type = blob.media_type.to_string();
        let record = CompressedRecord { media_type, digest: blob.digest, size: blob.size };
        self.put_record(&self.compressed_path(tar, compression), &record)
    }

    /// What a registry reference meant last.
    pub(crate) fn resolved(&self, reference: &str) -> Option<Digest> {
        self.record(&self.resolved_path(reference))
    }

    /// Keeps what a registry reference means now.
    pub(crate) fn put_resolved(&self, reference: &str, digest: &Digest) -> Result<(), Error> {
        self.put_record(&self.resolved_path(reference), digest)
    }

    fn listing_path(&self, layer: &Digest) -> PathBuf {
        self.dir.join("listings").join(format!("{}.json", layer.hex()))
    }

    fn compressed_path(&self, tar: &Digest, compression: &str) -> PathBuf {
        self.dir.join("compressed").join(format!("{}-{compression}.json", tar.hex()))
    }

    fn resolved_path(&self, reference: &str) -> PathBuf {
        self.dir.join("resolved").join(format!("{}.json", Digest::of(reference.as_bytes()).hex()))
    }

    /// A record that cannot be read counts as missing: all of them can be made again.
    fn record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        serde_json::from_slice(&read_at_most(path, MAX_RECORD).ok()?).ok()
    }

    fn put_record(&self, path: &Path, record: &impl Serialize) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).map_err(|error| Error::io("write", path)(error.into()))?;
        self.write(path, &bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut staged = self.staging()?;
        staged.write_all(bytes).map_err(Error::io("write", path))?;
        self.rename(staged, path)
    }

    fn rename(&self, staged: NamedTempFile, path: &Path) -> Result<(), Error> {
        staged.persist(path).map(drop).map_err(|error| Error::io("write", path)(error.error))
    }
}

#[derive(Serialize, serde::Deserialize)]
struct CompressedRecord {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// The bytes of a regular file that is not larger than `max`.
pub(crate) fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    pixi_oci_platform::read(path, pixi_oci_platform::Links::Follow, max)
}
