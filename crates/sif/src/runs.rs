//! Compressed contents of layers, kept for the next SIF: what a layer's files are compressed to does not depend on where it
//! stands, so that only changed layers are compressed again.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use pixi_oci_cachedir::{Blobs, FileSet, Held, Root, files_below, sha256_of, sharded, staged_file, sweep_files, trim};
use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, open};
use pixi_oci_squashfs::{Compressor, ContentRun};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// Below the root of the caches; raised when the same files are compressed to other bytes.
const PLACE: &str = "sif/1";
const PREFIX: &str = ".new-";
/// A layer of a million files.
const MAX_RECORD: u64 = 256 << 20;

/// Runs of earlier SIFs. Any number of threads and processes may use one directory.
#[derive(Debug, Clone)]
pub struct RunCache {
    root: Root,
    directory: PathBuf,
    blobs: Blobs,
    limit: u64,
}

/// What is kept beside the bytes.
#[derive(Serialize, Deserialize)]
struct StoredRun {
    sha256: String,
    run: ContentRun,
}

/// Everything that a run follows from, hashed.
pub(crate) struct RunKey(String);

impl RunKey {
    /// These entries of a layer, by their numbers.
    pub(crate) fn new(layer: Digest, compressor: Compressor, entries: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{layer} {compressor:?}\n"));
        entries.iter().for_each(|entry| hash.update(entry.to_le_bytes()));
        Self(hex::encode(hash.finalize()))
    }
}

impl RunCache {
    /// The cache in a directory, which need not exist, for runs of `limit` bytes together.
    pub fn open(root: &Root, limit: u64) -> Self {
        let directory = root.join(PLACE);
        Self { root: root.clone(), blobs: Blobs::new(root, directory.join("blobs")), directory, limit }
    }

    /// Writes the run of this key, if it is here. What is damaged is not.
    pub(crate) fn take(&self, key: &RunKey, files: usize, sink: &mut impl Write) -> io::Result<Option<ContentRun>> {
        let Some(StoredRun { sha256, run }) = self.root.read(&self.record(key), MAX_RECORD) else { return Ok(None) };
        let blob = self.blob(key);
        let Ok(Some(known)) = self.blobs.find(&blob, &sha256, sha256_of) else { return Ok(None) };
        // It may be evicted at this very moment; what is open is ours.
        let Ok(mut file) = open(&blob, Links::Refuse) else { return Ok(None) };
        if known.size != run.length || run.files.len() != files {
            return Ok(None);
        }
        match io::copy(&mut file, sink)? == run.length {
            true => Ok(Some(run)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A copy of what is written to `sink` from now on.
    pub(crate) fn copy<'a, W>(&self, sink: &'a mut W) -> RunCopy<'a, W> {
        // Against `trim`, which removes what is not held.
        let held = self.root.hold(&self.directory);
        // A cache that cannot be written only costs time.
        let file = staged_file(&self.directory, PREFIX).ok().map(|file| BufWriter::with_capacity(1 << 20, file));
        RunCopy { sink, file, left: self.limit, hash: Sha256::new(), _held: held }
    }

    pub(crate) fn keep<W>(&self, key: &RunKey, run: &ContentRun, copy: RunCopy<'_, W>) {
        let RunCopy { file, hash, _held, .. } = copy;
        let Some(file) = file.and_then(|file| file.into_inner().ok()) else { return };
        let stored = self.blobs.put(file, &self.blob(key), "");
        let record = StoredRun { sha256: hex::encode(hash.finalize()), run: run.clone() };
        let _ = stored.and_then(|()| self.root.write(&self.record(key), &record));
    }

    /// Removes the runs that were not used for longest until the limit is kept, and what killed builds left.
    pub fn trim(&self) {
        // Whoever is writing goes on; the next build trims.
        let _ = self.root.when_free(&self.directory, || {
            sweep_files(&self.directory, PREFIX)?;
            let mut sets = FileSet::all_below(self.blobs.directory())?;
            for set in &mut sets {
                let name = set.paths.first().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
                let record = name.map(|name| self.record_named(&name));
                set.paths.extend(record);
            }
            trim(sets, self.limit)?;
            for record in files_below(&self.directory.join("records"))? {
                let name = record.file_name().map(PathBuf::from).unwrap_or_default();
                if !self.blobs.path(&name.to_string_lossy(), "").exists() {
                    fs::remove_file(record)?;
                }
            }
            Ok(())
        });
    }

    fn blob(&self, key: &RunKey) -> PathBuf {
        self.blobs.path(&key.0, "")
    }

    fn record(&self, key: &RunKey) -> PathBuf {
        self.record_named(&key.0)
    }

    fn record_named(&self, name: &str) -> PathBuf {
        sharded(&self.directory.join("records"), name, "")
    }
}

/// Writes to a sink, and to a file as long as that can be written.
pub(crate) struct RunCopy<'a, W> {
    sink: &'a mut W,
    file: Option<BufWriter<NamedTempFile>>,
    /// How much may still come.
    left: u64,
    hash: Sha256,
    _held: Held,
}

impl<W: Write> Write for RunCopy<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write_all(bytes)?;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let kept = self.file.as_mut().filter(|_| self.left > 0).is_some_and(|file| file.write_all(bytes).is_ok());
        if kept {
            self.hash.update(bytes);
        } else {
            self.file = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
