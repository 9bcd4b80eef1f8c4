//! Layers, by key.
//!
//! A blob is hard-linked between the cache and the layouts that have it, so that keeping it costs no byte where both are
//! in one file system. Somebody who writes into a layout's blob writes into the cache's: a hit counts only while size,
//! modification time and inode are those of the moment at which the layer was made.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use pixi_oci_image::LayerEntry;
use pixi_oci_layer::{Compression, Digest};
use pixi_oci_platform::open_lock;
use pixi_oci_store::OciLayout;
use serde::{Deserialize, Serialize};

use super::{LayerRecord, file};
use crate::layers::key::LayerKey;

/// More than a record of the strangest layer needs.
const MAX_RECORD: u64 = 16 << 20;

/// A cache of layers. Any number of threads and processes may use one directory.
#[derive(Debug, Clone)]
pub struct LayerCache {
    directory: PathBuf,
    /// Blobs may take so many bytes after [`LayerCache::trim`].
    limit: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    layer: LayerRecord,
    blob: Identity,
}

/// What tells whether a file was changed or replaced. Not the change time: a link changes it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    size: u64,
    mtime: (i64, i64),
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self { size: metadata.len(), mtime: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino() })
    }
}

impl LayerCache {
    /// The cache in a directory, which need not exist, for blobs of `limit` bytes together.
    pub fn open(directory: &Path, limit: u64) -> Self {
        Self { directory: directory.join("layers"), limit }
    }

    /// What is known of the layer of this key, if its blob is here too.
    pub fn find(&self, key: &LayerKey) -> Option<LayerRecord> {
        let stored: Stored = file::read(&self.record(key), MAX_RECORD)?;
        let blob = Identity::of(&self.blob(&stored.layer.digest)).ok()?;
        (blob == stored.blob && blob.size == stored.layer.size).then_some(stored.layer)
    }

    /// Puts the layer of this key into `layout`, if it is here, and says what it is.
    ///
    /// # Errors
    ///
    /// The layout cannot be written to. A cache that cannot be read has no layer.
    pub fn take(
        &self,
        key: &LayerKey,
        compression: Compression,
        layout: &OciLayout,
    ) -> Result<Option<LayerRecord>, pixi_oci_store::Error> {
        let Some(record) = self.find(key) else { return Ok(None) };
        let descriptor = LayerEntry::new(&record.layer(compression), BTreeMap::new()).descriptor;
        match layout.link(&self.blob(&record.digest), &descriptor) {
            Ok(true) => {}
            // It may be evicted at this very moment; what is linked is ours.
            Ok(false) => return Ok(None),
            // It was copied, and so hashed: somebody wrote into it and put the time back.
            Err(pixi_oci_store::Error::Content { .. }) => {
                let _ = fs::remove_file(self.record(key));
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        // Written again, it has the time of this use, which decides how long it stays. A cache of somebody else cannot
        // be told.
        let _ = Identity::of(&self.blob(&record.digest))
            .and_then(|blob| file::write(&self.record(key), &Stored { layer: record.clone(), blob }));
        Ok(Some(record))
    }

    /// Keeps a layer whose blob is at `blob` in a layout, if that is possible.
    pub fn put(&self, key: &LayerKey, record: &LayerRecord, blob: &Path) {
        if record.size <= self.limit {
            // A cache that cannot be written only costs time.
            let _ = self.keep(key, record, blob);
        }
    }

    fn keep(&self, key: &LayerKey, record: &LayerRecord, blob: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        // Against `trim`, which removes blobs without a record.
        let lock = self.lock()?;
        lock.lock_shared()?;
        let kept = self.blob(&record.digest);
        if Identity::of(&kept).ok() != Some(Identity::of(blob)?) {
            if let Some(parent) = kept.parent() {
                fs::create_dir_all(parent)?;
            }
            let new = tempfile::Builder::new().prefix(".new-").make_in(&self.directory, |path| {
                match fs::hard_link(blob, path) {
                    // Another file system: the bytes were hashed when they were written a moment ago.
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(blob, path).map(drop),
                    result => result,
                }
            })?;
            new.into_temp_path().persist(&kept).map_err(|error| error.error)?;
        }
        file::write(&self.record(key), &Stored { layer: record.clone(), blob: Identity::of(&kept)? })
    }

    /// Removes the layers that were not used for longest until the limit is kept, and what killed builds left.
    pub fn trim(&self) {
        // Whoever is writing goes on; the next build trims.
        let _ = self.lock().map(|lock| lock.try_lock().is_ok().then(|| self.evict()));
    }

    fn evict(&self) -> io::Result<()> {
        let mut records: Vec<(SystemTime, PathBuf, Digest)> = Vec::new();
        for path in files_below(&self.directory.join("records"))? {
            // What another process is about to give a name is made anew by it when it is needed again.
            match file::read::<Stored>(&path, MAX_RECORD) {
                Some(stored) => records.push((fs::metadata(&path)?.modified()?, path, stored.layer.digest)),
                None => fs::remove_file(&path)?,
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
        for path in files_below(&self.directory.join("blobs"))? {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| kept.contains(name)) {
                fs::remove_file(&path)?;
            }
        }
        for entry in fs::read_dir(&self.directory)?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(".new-")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<File> {
        open_lock(&self.directory.join("lock"))
    }

    fn record(&self, key: &LayerKey) -> PathBuf {
        file::path_of(&self.directory.join("records"), &key.hex(), ".json")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        file::path_of(&self.directory.join("blobs"), &digest.hex(), "")
    }
}

/// The files in the directories in `directory`.
pub(super) fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let outer = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        outer => outer?,
    };
    for entry in outer {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            for file in fs::read_dir(entry.path())? {
                files.push(file?.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
