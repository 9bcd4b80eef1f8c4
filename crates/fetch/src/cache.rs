//! Package archives on this machine, by sha256.
//!
//! ```text
//! DIR/archives/ab/abcdef….conda        the archive, complete and verified when it got this name
//! DIR/archives/ab/abcdef….conda.seen   size, times and inode it had when it was last hashed, and its md5
//! DIR/archives/urls/12/123456…          the sha256 of what that URL gave, where the lock file has none; named by the
//!                                      sha256 of the URL
//! DIR/archives/tmp/…                   what is being written, each file locked by its writer
//! DIR/archives/lock                    held by all who use archives, and by who removes some
//! ```
//!
//! **A file under its final name was hashed.** It gets there by a rename, so a killed process leaves nothing under a
//! final name, and several processes can fill one cache: the last rename wins, with the same bytes. What a killed process
//! leaves in `tmp` is not locked any more and is removed when the cache is opened next.
//!
//! A hit is trusted while size, mtime, ctime and inode are those of `.seen`; else the file is hashed again, and removed if
//! it is not what its name says. Somebody who can write to the cache *and* forge `.seen` can deceive us; so could they by
//! replacing this program. At each hit `.seen` is written again: its time is that of the last use.

mod trim;

use std::{
    fs::{Permissions, TryLockError},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open, read_text};
use rattler_digest::digest::Digest as _;
use tempfile::NamedTempFile;

pub use self::trim::Held;
use crate::{Error, FetchItem};
use pixi_oci_lock::{ArchiveLocation, Sha256, hex};

/// The notes beside archives have a few lines.
const MAX_NOTE: u64 = 4096;

/// A cache of package archives. Cheap to clone; any number may be open on one directory, in any number of processes.
#[derive(Debug, Clone)]
pub struct ArchiveCache {
    archives: PathBuf,
}

/// An archive that is there and is what the lock file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedArchive {
    /// The file. Its name ends like the archive's (`.conda`, `.tar.bz2`, `.whl`).
    pub path: PathBuf,
    /// Its sha256.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

/// An archive being written.
pub(crate) struct Incoming {
    file: NamedTempFile,
    hashers: Hashers,
    size: u64,
}

impl ArchiveCache {
    /// Opens the cache in a directory, which is made if it is not there.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let archives = directory.join("archives");
        let cache = Self { archives };
        let tmp = cache.tmp();
        std::fs::create_dir_all(&tmp).map_err(|source| Error::Io { action: "create", path: tmp.clone(), source })?;
        cache.remove_abandoned();
        Ok(cache)
    }

    /// The archive of an item, if it is in the cache. Hashes it if that was not done since it last changed.
    ///
    /// # Errors
    /// The lock file gives another length than the archive of that sha256 has; the disk fails.
    pub fn lookup(&self, item: &FetchItem) -> Result<Option<CachedArchive>, Error> {
        let Some(sha256) = item.sha256.or_else(|| self.given_by(item)) else { return Ok(None) };
        let path = self.path_of(item, &sha256);
        let (size, md5) = match self.verified(&path, &sha256) {
            Ok(Some(known)) => known,
            Ok(None) => return Ok(None),
            Err(source) => return Err(item.io_error("read", &path, source)),
        };
        item.check_size(size)?;
        item.check_md5(&md5)?;
        Ok(Some(CachedArchive { path, sha256, size }))
    }

    /// Starts an archive.
    pub(crate) fn incoming(&self) -> io::Result<Incoming> {
        Ok(Incoming { file: self.temporary_file()?, hashers: Hashers::default(), size: 0 })
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
        self.place(incoming.file, &path, &md5).map_err(|source| item.io_error("write", &path, source))?;
        self.note_url(item, &actual).map_err(|source| item.io_error("write", &path, source))?;
        Ok(CachedArchive { path, sha256: actual, size: incoming.size })
    }

    fn place(&self, file: NamedTempFile, path: &Path, md5: &str) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        file.persist(path).map_err(|error| error.error)?;
        self.remember(path, md5)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.archives
    }

    fn tmp(&self) -> PathBuf {
        self.archives.join("tmp")
    }

    /// What an item without a hash was when it was fetched last. A file on this machine is read anew each time.
    fn given_by(&self, item: &FetchItem) -> Option<Sha256> {
        read_text(&self.note_of(item)?, Links::Refuse, MAX_NOTE).ok()?.trim_end().parse().ok()
    }

    fn note_url(&self, item: &FetchItem, sha256: &Sha256) -> io::Result<()> {
        let Some(path) = self.note_of(item).filter(|_| item.sha256.is_none()) else { return Ok(()) };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = self.temporary_file()?;
        std::fs::write(file.path(), format!("{sha256}\n"))?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Named by a hash, because a URL can have secrets and be longer than a file name.
    fn note_of(&self, item: &FetchItem) -> Option<PathBuf> {
        let ArchiveLocation::Url(url) = &item.location else { return None };
        if item.location.local_path().is_some() {
            return None;
        }
        let hex = hex(&rattler_digest::Sha256::digest(url.as_str()));
        Some(self.archives.join("urls").join(&hex[..2]).join(hex))
    }

    fn path_of(&self, item: &FetchItem, sha256: &Sha256) -> PathBuf {
        let hex = sha256.to_string();
        self.archives.join(&hex[..2]).join(format!("{hex}{}", item.extension()))
    }

    /// The length and md5 of the file if its content is known to have this sha256.
    fn verified(&self, path: &Path, expected: &Sha256) -> io::Result<Option<(u64, String)>> {
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if metadata.is_file() {
            let seen = read_text(&seen_path(path), Links::Refuse, MAX_NOTE).unwrap_or_default();
            if let Some(md5) = seen.strip_prefix(&fingerprint(&metadata)).and_then(|rest| rest.strip_prefix("md5 ")) {
                let md5 = md5.trim_end().to_owned();
                // A cache of somebody else cannot be told.
                let _ = self.remember(path, &md5);
                return Ok(Some((metadata.len(), md5)));
            }
            let (sha256, md5) = hash_file(path)?;
            if sha256 == *expected {
                self.remember(path, &md5)?;
                return Ok(Some((metadata.len(), md5)));
            }
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(None),
        }
    }

    /// Notes that the file has just been hashed.
    fn remember(&self, path: &Path, md5: &str) -> io::Result<()> {
        let file = self.temporary_file()?;
        let fingerprint = fingerprint(&std::fs::symlink_metadata(path)?);
        std::fs::write(file.path(), format!("{fingerprint}md5 {md5}\n"))?;
        file.persist(seen_path(path)).map(drop).map_err(|error| error.error)
    }

    fn temporary_file(&self) -> io::Result<NamedTempFile> {
        loop {
            let file = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(self.tmp())?;
            match file.as_file().try_lock() {
                // Another process took it for abandoned before it was locked, and is about to remove it.
                Err(TryLockError::WouldBlock) => continue,
                // File systems without locks: then nobody can take the lock to remove the file, either.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            // Another process may have found the file in the instant before it was locked.
            let mine = file.as_file().metadata()?.ino();
            if std::fs::symlink_metadata(file.path()).is_ok_and(|found| found.ino() == mine) {
                return Ok(file);
            }
        }
    }

    /// Removes what killed processes left. Failing at that is no reason not to work.
    fn remove_abandoned(&self) {
        let Ok(entries) = std::fs::read_dir(self.tmp()) else { return };
        for entry in entries.flatten() {
            let Ok(file) = open(&entry.path(), Links::Refuse) else { continue };
            if file.try_lock().is_ok() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Incoming {
    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hashers.update(bytes);
        self.size += bytes.len() as u64;
        io::Write::write_all(self.file.as_file_mut(), bytes)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

fn seen_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".seen");
    PathBuf::from(name)
}

fn fingerprint(metadata: &std::fs::Metadata) -> String {
    format!(
        "size {} mtime {}.{:09} ctime {}.{:09} inode {}\n",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino()
    )
}

/// Both hashes that lock files have.
#[derive(Debug, Default)]
struct Hashers {
    sha256: rattler_digest::Sha256,
    md5: rattler_digest::Md5,
}

impl Hashers {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
    }

    fn finish(self) -> (Sha256, String) {
        (Sha256::from_bytes(self.sha256.finalize().into()), hex(&self.md5.finalize()))
    }
}

fn hash_file(path: &Path) -> io::Result<(Sha256, String)> {
    let mut file = open(path, Links::Refuse)?;
    let mut hashers = Hashers::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hashers.finish()),
            Ok(read) => hashers.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
