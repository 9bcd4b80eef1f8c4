//! The archives keep to a size: those that were not used for longest go first.
//!
//! Archives are read some time after they were looked up. So whoever uses the cache holds it meanwhile, and archives are
//! only removed while nobody does.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use pixi_oci_platform::open_lock;

use super::{ArchiveCache, seen_path};

/// While it exists, no archive is removed that was not damaged.
#[derive(Debug)]
pub struct Held {
    /// Nothing where there are no locks: there nobody removes anything, either.
    _lock: Option<File>,
}

/// An archive.
struct Kept {
    used: SystemTime,
    size: u64,
    path: PathBuf,
}

impl ArchiveCache {
    /// Keeps all archives where they are, in all processes.
    pub fn hold(&self) -> Held {
        let lock = self.lock().and_then(|file| file.lock_shared().map(|()| file));
        Held { _lock: lock.ok() }
    }

    /// Removes the archives that were not used for longest until the others have at most `limit` bytes together. Does
    /// nothing while somebody holds the cache: the next one does it. Nothing that goes wrong is worth failing for.
    pub fn trim(&self, limit: u64) {
        let Ok(lock) = self.lock() else { return };
        match lock.try_lock() {
            Ok(()) => drop(self.evict(limit)),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }

    fn evict(&self, limit: u64) -> io::Result<()> {
        let mut archives = Vec::new();
        let mut notes = Vec::new();
        for path in files_below(self.directory())? {
            if path.extension().is_some_and(|extension| extension == "seen") {
                notes.push(path);
            } else {
                let archive = fs::symlink_metadata(&path)?;
                // The note is written again at each use.
                let used = fs::symlink_metadata(seen_path(&path)).unwrap_or_else(|_| archive.clone()).modified()?;
                archives.push(Kept { used, size: archive.len(), path });
            }
        }
        archives.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.path.cmp(&b.path)));
        let mut left = limit;
        let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
        for Kept { size, path, .. } in archives {
            match left.checked_sub(size) {
                Some(rest) => {
                    left = rest;
                    kept.insert(seen_path(&path));
                }
                // Older ones that are smaller may stay: what counts is the sum.
                None => fs::remove_file(path)?,
            }
        }
        notes.into_iter().filter(|note| !kept.contains(note)).try_for_each(fs::remove_file)
    }

    fn lock(&self) -> io::Result<File> {
        // One who may only read the cache can keep others from removing what he reads.
        open_lock(&self.directory().join("lock"))
    }
}

/// The archives and their notes, which are in directories of two digits; not what is being written, nor what was noted of
/// URLs.
fn files_below(archives: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in fs::read_dir(archives)? {
        let directory = directory?;
        if !is_of_archives(&directory.file_name()) {
            continue;
        }
        for file in fs::read_dir(directory.path())? {
            let file = file?;
            if file.file_type()?.is_file() {
                files.push(file.path());
            }
        }
    }
    Ok(files)
}

fn is_of_archives(name: &OsString) -> bool {
    name.len() == 2 && name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
