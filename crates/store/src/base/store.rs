//! What is kept of base images on this machine.
//!
//! ```text
//! CACHE/base/2/blobs/ab/HEX             a manifest, an index, a configuration or a compressed layer, by its SHA-256
//!              listings/ab/HEX.json     what is in the layer HEX; it is there once the layer's diff id has been checked
//!              compressed/ab/HEX-….json which blob the plain tar HEX became
//!              resolved/ab/HEX.json     what a registry reference meant last; HEX is the SHA-256 of the reference
//! ```
//!
//! Everything is checked when it is read, by [`pixi_oci_cachedir`]; what is damaged is fetched again.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::{
    Blobs, Held, Root, StagedDirectory, sha256_of, sharded, staged_file, sweep_directories, sweep_files,
};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, read};
use pixi_oci_registry::document::MAX_DOCUMENT;
use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use super::listing::Listing;
use crate::Error;

/// Where everything is, below the root of the caches; raised when the form changes.
const PLACE: &str = "base/2";
const STAGING_PREFIX: &str = ".new-";
/// A listing has about 100 bytes for each file of a layer.
const MAX_RECORD: u64 = 1 << 30;

/// The cache of base images. Several processes may use it at once.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: Root,
    dir: PathBuf,
    blobs: Blobs,
}

impl Store {
    /// Opens the cache and removes what killed processes left in it.
    pub(crate) fn open(root: &Root) -> Result<Self, Error> {
        let dir = root.join(PLACE);
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        sweep_files(&dir, STAGING_PREFIX).map_err(Error::io("clean up", &dir))?;
        sweep_directories(&dir, STAGING_PREFIX);
        Ok(Self { root: root.clone(), blobs: Blobs::new(root, dir.join("blobs")), dir })
    }

    /// A file that is not finished yet; it is removed when it is dropped.
    pub(crate) fn staging(&self) -> Result<NamedTempFile, Error> {
        staged_file(&self.dir, STAGING_PREFIX).map_err(Error::io("create a file in", &self.dir))
    }

    /// A directory for what becomes blobs; it is removed when it is dropped.
    pub(crate) fn staging_directory(&self) -> Result<StagedDirectory, Error> {
        StagedDirectory::new(&self.dir, STAGING_PREFIX).map_err(Error::io("create a directory in", &self.dir))
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.path(&digest.hex(), "")
    }

    /// Makes a staged file the blob `digest`, which is the digest that was computed when it was written.
    pub(crate) fn adopt(&self, staged: NamedTempFile, digest: &Digest) -> Result<(), Error> {
        let path = self.blob_path(digest);
        self.blobs.put(staged, &path, "").map_err(Error::io("write", &path))
    }

    /// Whether the blob is there, and what its name says.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        let found = self.blobs.find(&self.blob_path(digest), &digest.hex(), sha256_of);
        found.is_ok_and(|found| found.is_some_and(|known| known.size == size))
    }

    /// A document that is here. A damaged one is removed, so that it is fetched again.
    pub(crate) fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.blob_path(digest);
        let bytes = read(&path, Links::Follow, MAX_DOCUMENT);
        match bytes {
            Ok(bytes) if Digest::of(&bytes) == *digest => {
                // Its time is that of the last use.
                let _ = pixi_oci_platform::touch(&path);
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            _ => {
                self.blobs.forget(&path);
                None
            }
        }
    }

    pub(crate) fn put_document(&self, digest: &Digest, bytes: &[u8]) {
        let path = self.blob_path(digest);
        let put = || -> io::Result<()> {
            let mut staged = staged_file(&self.dir, STAGING_PREFIX)?;
            staged.write_all(bytes)?;
            // It is hashed whenever it is read, so nothing has to be noted.
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            staged.persist(&path).map(drop).map_err(|error| error.error)
        };
        let _ = put();
    }

    /// What is in a layer, if that is known.
    pub(crate) fn listing(&self, layer: &Digest) -> Option<Listing> {
        self.record(&self.record_path("listings", &layer.hex(), "")).filter(Listing::is_current)
    }

    pub(crate) fn put_listing(&self, layer: &Digest, listing: &Listing) {
        let _ = self.root.write(&self.record_path("listings", &layer.hex(), ""), listing);
    }

    /// Which blob a plain tar became by this compression.
    pub(crate) fn compressed(&self, tar: &Digest, compression: &str) -> Option<Descriptor> {
        let path = self.record_path("compressed", &tar.hex(), &format!("-{compression}"));
        let record: CompressedRecord = self.record(&path)?;
        let media_type = record.media_type.as_str().into();
        Some(Descriptor { media_type, digest: record.digest, size: record.size, annotations: Default::default() })
    }

    pub(crate) fn put_compressed(&self, tar: &Digest, compression: &str, blob: &Descriptor) {
        let media_type = blob.media_type.to_string();
        let record = CompressedRecord { media_type, digest: blob.digest, size: blob.size };
        let path = self.record_path("compressed", &tar.hex(), &format!("-{compression}"));
        let _ = self.root.write(&path, &record);
    }

    /// What a registry reference meant last.
    pub(crate) fn resolved(&self, reference: &str) -> Option<Digest> {
        self.record(&self.record_path("resolved", &Digest::of(reference.as_bytes()).hex(), ""))
    }

    pub(crate) fn put_resolved(&self, reference: &str, digest: &Digest) {
        let path = self.record_path("resolved", &Digest::of(reference.as_bytes()).hex(), "");
        let _ = self.root.write(&path, digest);
    }

    fn record_path(&self, part: &str, hex: &str, suffix: &str) -> PathBuf {
        sharded(&self.dir.join(part), hex, &format!("{suffix}.json"))
    }

    fn record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let found = self.root.read(path, MAX_RECORD)?;
        // Its time is that of the last use. A cache of somebody else cannot be told.
        let _ = pixi_oci_platform::touch(path);
        Some(found)
    }
}

#[derive(Serialize, serde::Deserialize)]
struct CompressedRecord {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// What was not used for longest goes when base images take more.
const LIMIT: u64 = 20 << 30;

/// Keeps all base images where they are, in all processes; before, if nobody uses them, they are kept to their size.
pub fn hold_bases(root: &Root) -> Held {
    // What is left over costs room only.
    let _ = root.trim_part("base", LIMIT);
    root.hold(&root.join(PLACE))
}
