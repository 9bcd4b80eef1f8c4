//! Layers, by key.
//!
//! A blob is hard-linked between the cache and the layouts that have it, so that keeping it costs no byte where both are
//! in one file system. Somebody who writes into a layout's blob writes into the cache's: so it is hashed again when it
//! changed ([`Blobs`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use pixi_oci_cachedir::{Blobs, Root, files_below, sha256_of, sharded};
use pixi_oci_image::LayerEntry;
use pixi_oci_layer::{Compression, Digest};
use pixi_oci_platform::touch;
use pixi_oci_store::OciLayout;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::LayerRecord;
use crate::layers::key::LayerKey;

/// Where everything is, below the root of the caches; raised when the form changes.
const PLACE: &str = "layers/2";
/// More than a record of the strangest layer needs.
const MAX_RECORD: u64 = 16 << 20;
/// How the names of blobs in the making begin.
const PREFIX: &str = ".new-";

/// A cache of layers. Any number of threads and processes may use one directory.
#[derive(Debug, Clone)]
pub struct LayerCache {
    root: Root,
    directory: PathBuf,
    blobs: Blobs,
    /// Blobs may take so many bytes after [`LayerCache::trim`].
    limit: u64,
    takes_fetched: bool,
    used: Arc<Used>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    layer: LayerRecord,
    /// Whether it came from a published image, and not from packages.
    fetched: bool,
}

/// Blobs that got or lost hard links: their change times are noted anew when the run is over.
#[derive(Debug)]
struct Used {
    blobs: Blobs,
    paths: Mutex<BTreeSet<PathBuf>>,
}

impl Drop for Used {
    fn drop(&mut self) {
        let paths = self.paths.get_mut().unwrap_or_else(PoisonError::into_inner);
        paths.par_iter().for_each(|path| self.blobs.relinked(path));
    }
}

impl LayerCache {
    /// The cache in a directory, which need not exist, for blobs of `limit` bytes together. Layers that were fetched from
    /// published images count with `takes_fetched` only: where the user has named such images in this run.
    pub fn open(root: &Root, limit: u64, takes_fetched: bool) -> Self {
        let directory = root.join(PLACE);
        let blobs = Blobs::new(root, directory.join("blobs"));
        let used = Arc::new(Used { blobs: blobs.clone(), paths: Mutex::default() });
        Self { root: root.clone(), directory, blobs, limit, takes_fetched, used }
    }

    /// What is known of the layer of this key, if its blob is here too.
    pub fn find(&self, key: &LayerKey) -> Option<LayerRecord> {
        let stored: Stored = self.root.read(&self.record(key), MAX_RECORD)?;
        if stored.fetched && !self.takes_fetched {
            return None;
        }
        let record = stored.layer;
        let blob = self.blobs.find(&self.blob(&record.digest), &record.digest.hex(), sha256_of).ok()??;
        (blob.size == record.size).then_some(record)
    }

    /// Puts the layer of this key, which was [found](Self::find), into `layout`, if it is still here.
    pub fn take(
        &self,
        key: &LayerKey,
        record: &LayerRecord,
        compression: Compression,
        layout: &OciLayout,
    ) -> Result<bool, pixi_oci_store::Error> {
        let descriptor = LayerEntry::new(&record.layer(compression), BTreeMap::new()).descriptor;
        let blob = self.blob(&record.digest);
        match layout.link(&blob, &descriptor) {
            Ok(true) => {}
            // It may be evicted at this very moment; what is linked is ours.
            Ok(false) => return Ok(false),
            // It was copied, and so hashed.
            Err(pixi_oci_store::Error::Content { .. }) => {
                self.blobs.forget(&blob);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if layout.place_beside(&record.digest).is_none() {
            self.was_linked(blob);
        }
        // The record has the time of this use, which decides how long it stays. A cache of somebody else cannot be told.
        let _ = touch(&self.record(key));
        Ok(true)
    }

    /// Keeps a layer whose blob is at `blob` in a layout, if that is possible. `fetched` is for one that was not made here.
    pub fn put(&self, key: &LayerKey, record: &LayerRecord, blob: &Path, fetched: bool) {
        if record.size <= self.limit {
            // A cache that cannot be written only costs time.
            let _ = self.keep(key, record, blob, fetched);
        }
    }

    fn keep(&self, key: &LayerKey, record: &LayerRecord, blob: &Path, fetched: bool) -> io::Result<()> {
        // Against `trim`, which removes blobs without a record.
        let _held = self.root.hold(&self.directory);
        let kept = self.blob(&record.digest);
        if self.blobs.find(&kept, &record.digest.hex(), sha256_of)?.is_none() {
            if let Some(parent) = kept.parent() {
                fs::create_dir_all(parent)?;
            }
            let new = tempfile::Builder::new().prefix(PREFIX).make_in(&self.directory, |path| {
                match fs::hard_link(blob, path) {
                    // Another file system: the bytes were hashed when they were written a moment ago.
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(blob, path).map(drop),
                    result => result,
                }
            })?;
            new.into_temp_path().persist(&kept).map_err(|error| error.error)?;
            self.blobs.remember(&kept, "")?;
        }
        self.was_linked(kept);
        self.root.write(&self.record(key), &Stored { layer: record.clone(), fetched })
    }

    fn was_linked(&self, blob: PathBuf) {
        self.used.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(blob);
    }

    /// Removes the layers that were not used for longest until the limit is kept, and what killed builds left.
    pub fn trim(&self) {
        // Whoever is writing goes on; the next build trims.
        let _ = self.root.when_free(&self.directory, || self.evict());
    }

    fn evict(&self) -> io::Result<()> {
        let mut records: Vec<(SystemTime, PathBuf, Digest)> = Vec::new();
        for path in files_below(&self.directory.join("records"))? {
            // What another process is about to give a name is made anew by it when it is needed again.
            match self.root.read::<Stored>(&path, MAX_RECORD) {
                Some(stored) => records.push((fs::metadata(&path)?.modified()?, path, stored.layer.digest)),
                None => drop(fs::remove_file(&path)),
            }
        }
        records.sort();
        let mut left = self.limit;
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for (_, path, digest) in records.into_iter().rev() {
            let size = fs::metadata(self.blob(&digest)).map_or(0, |metadata| metadata.len());
            let known = kept.contains(&digest.hex());
            if !known && size > left {
                // Older ones that are smaller may stay: what counts is the sum.
                fs::remove_file(&path)?;
                continue;
            }
            if !known {
                left -= size;
                kept.insert(digest.hex());
            }
        }
        for path in files_below(self.blobs.directory())? {
            // A blob, or the note beside it.
            if !path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| kept.contains(name)) {
                fs::remove_file(&path)?;
            }
        }
        for entry in fs::read_dir(&self.directory)?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn record(&self, key: &LayerKey) -> PathBuf {
        sharded(&self.directory.join("records"), &key.hex(), ".json")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs.path(&digest.hex(), "")
    }
}

#[cfg(test)]
mod tests;
