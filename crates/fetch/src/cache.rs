//! Package archives on this machine, by sha256.
//!
//! ```text
//! DIR/archives/ab/abcdef….conda        the archive, complete and verified when it got this name
//! DIR/archives/ab/abcdef….conda.note   size, times and inode it had when it was last hashed, and
//!                                      its md5 if that was asked for
//! DIR/archives/urls/12/123456…         the sha256 of what that URL gave, where the lock file has none; named by the
//!                                      sha256 of the URL
//! DIR/archives/tmp/…                   what is being written, each file locked by its writer
//! DIR/archives/lock                    held by all who use archives, and by who removes some
//! ```
//!
//! **A file under its final name was hashed**, and a hit is hashed again if it changed since ([`Blobs`]). Several processes
//! can fill one cache: the last rename wins, with the same bytes. What a killed process leaves in `tmp` is removed when the
//! cache is opened next.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::{Blobs, Held, Root, sharded, staged_file, sweep_files, trim_below};
use pixi_oci_lock::{ArchiveLocation, Sha256};
use rattler_digest::digest::Digest as _;
use tempfile::NamedTempFile;

use crate::{Error, FetchItem};

/// What is remembered of a URL is a line.
const MAX_REMEMBERED: u64 = 4096;

/// A cache of package archives. Cheap to clone; any number may be open on one directory, in any number of processes.
#[derive(Debug, Clone)]
pub struct ArchiveCache {
    root: Root,
    blobs: Blobs,
}

/// An archive that is there and is what the lock file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedArchive {
    /// The file. Its name ends like the archive's (`.conda`, `.tar.bz2`, `.whl`).
    pub path: PathBuf,
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

pub(crate) struct Incoming {
    file: NamedTempFile,
    hashers: Hashers,
    pub(crate) size: u64,
}

impl ArchiveCache {
    /// Opens the cache in a directory, which is made if it is not there.
    pub fn open(root: &Root) -> Result<Self, Error> {
        let cache = Self { root: root.clone(), blobs: Blobs::new(root, "archives") };
        let tmp = cache.tmp();
        std::fs::create_dir_all(&tmp).map_err(|source| Error::Io { action: "create", path: tmp.clone(), source })?;
        // Failing at that is no reason not to work.
        let _ = sweep_files(&tmp, "");
        Ok(cache)
    }

    /// The archive of an item, if it is in the cache. Hashes it if that was not done since it last changed.
    ///
    /// # Errors
    /// The lock file gives another length than the archive of that sha256 has; the disk fails.
    pub fn lookup(&self, item: &FetchItem) -> Result<Option<CachedArchive>, Error> {
        let Some(sha256) = item.sha256.or_else(|| self.given_by(item)) else { return Ok(None) };
        let path = self.path_of(item, &sha256);
        let found = self.blobs.find(&path, &sha256.to_string(), |file| hash(file, item));
        let Some(known) = found.map_err(|source| item.io_error("read", &path, source))? else { return Ok(None) };
        item.check_size(known.size)?;
        if item.md5.is_some() && known.extra.is_empty() {
            return Ok(None); // it was fetched for a lock file that has its sha256
        }
        item.check_md5(&known.extra)?;
        Ok(Some(CachedArchive { path, sha256, size: known.size }))
    }

    /// Keeps all archives where they are, in all processes.
    pub fn hold(&self) -> Held {
        self.root.hold(self.blobs.directory())
    }

    /// Removes the archives that were not used for longest until the others have at most `limit` bytes together. Does
    /// nothing while somebody holds the cache: the next one does it. Nothing that goes wrong is worth failing for.
    pub fn trim(&self, limit: u64) {
        let directory = self.blobs.directory();
        let _ = self.root.when_free(directory, || trim_below(directory, limit));
    }

    pub(crate) fn incoming(&self, item: &FetchItem) -> io::Result<Incoming> {
        Ok(Incoming { file: staged_file(&self.tmp(), "")?, hashers: Hashers::of(item), size: 0 })
    }

    /// Gives an archive its name, if it is the one that is expected.
    pub(crate) fn accept(&self, incoming: Incoming, item: &FetchItem) -> Result<CachedArchive, Error> {
        item.check_size(incoming.size)?;
        let (actual, md5) = incoming.hashers.finish();
        if let Some(expected) = item.sha256.filter(|expected| *expected != actual) {
            return Err(Error::Sha256Mismatch {
                package: item.name.clone(),
                location: item.shown_location(),
                actual,
                expected,
            });
        }
        item.check_md5(&md5)?;
        let path = self.path_of(item, &actual);
        self.blobs.put(incoming.file, &path, &md5).map_err(|source| item.io_error("write", &path, source))?;
        if let Some(note) = self.remembered(item).filter(|_| item.sha256.is_none()) {
            self.root.write(&note, &actual.to_string()).map_err(|source| item.io_error("write", &note, source))?;
        }
        Ok(CachedArchive { path, sha256: actual, size: incoming.size })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.blobs.directory()
    }

    fn tmp(&self) -> PathBuf {
        self.blobs.directory().join("tmp")
    }

    /// What an item without a hash was when it was fetched last. A file on this machine is read anew each time.
    fn given_by(&self, item: &FetchItem) -> Option<Sha256> {
        self.root.read::<String>(&self.remembered(item)?, MAX_REMEMBERED)?.parse().ok()
    }

    /// Named by a hash, because a URL can have secrets and be longer than a file name.
    fn remembered(&self, item: &FetchItem) -> Option<PathBuf> {
        let ArchiveLocation::Url(url) = &item.location else { return None };
        if item.location.local_path().is_some() {
            return None;
        }
        let hex = hex::encode(rattler_digest::Sha256::digest(url.as_str()));
        Some(sharded(&self.blobs.directory().join("urls"), &hex, ""))
    }

    fn path_of(&self, item: &FetchItem, sha256: &Sha256) -> PathBuf {
        self.blobs.path(&sha256.to_string(), item.extension())
    }
}

impl Incoming {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hashers.update(bytes);
        self.size += bytes.len() as u64;
        io::Write::write_all(self.file.as_file_mut(), bytes)
    }
}

#[derive(Debug)]
struct Hashers {
    sha256: rattler_digest::Sha256,
    md5: Option<rattler_digest::Md5>,
}

impl Hashers {
    fn of(item: &FetchItem) -> Self {
        Self {
            sha256: rattler_digest::Sha256::default(),
            md5: item.md5.as_ref().map(|_| rattler_digest::Md5::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// The sha256, and the md5 or nothing.
    fn finish(self) -> (Sha256, String) {
        (
            Sha256::from_bytes(self.sha256.finalize().into()),
            self.md5.map(|md5| hex::encode(md5.finalize())).unwrap_or_default(),
        )
    }
}

/// The sha256 of an archive, and the md5 if the item needs it.
fn hash(file: &mut dyn Read, item: &FetchItem) -> io::Result<(String, String)> {
    let mut hashers = Hashers::of(item);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => {
                let (sha256, md5) = hashers.finish();
                return Ok((sha256.to_string(), md5));
            }
            Ok(read) => hashers.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
