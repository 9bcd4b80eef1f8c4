//! A directory that is made beside its place, and gets there in one step.
//!
//! The new directory and the old one change places in one system call, so at every moment one of them is there, whole. What
//! a killed process leaves begins with [`PREFIX`] and is not locked any more; whoever comes next removes it.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, exchange, open, open_lock};
use tempfile::TempDir;

use crate::Error;

/// How the names of directories begin in which something is made.
const PREFIX: &str = ".pixi-oci-new-";
const LOCK: &str = "lock";
/// What the lock file holds as soon as it is locked: an empty one belongs to somebody who is just about to lock it.
const HELD: &[u8] = b"held";
const NEW: &str = "new";

/// A directory in the making.
#[derive(Debug)]
pub struct Staging {
    to: PathBuf,
    new: PathBuf,
    directory: TempDir,
    /// The kernel drops the lock when the process dies.
    _lock: File,
}

impl Staging {
    /// Prepares a directory that is going to be `to`.
    ///
    /// # Errors
    /// The directory above cannot be written to.
    pub fn beside(to: &Path) -> Result<Self, Error> {
        let to = std::path::absolute(to).map_err(Error::io("find", to))?;
        let parent = to.parent().unwrap_or(Path::new("/")).to_path_buf();
        fs_err::create_dir_all(&parent).map_err(Error::io("make", &parent))?;
        sweep(&parent);
        let failed = || Error::io("make a temporary directory in", &parent);
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(failed())?;
        let lock = open_lock(&directory.path().join(LOCK)).map_err(failed())?;
        lock.lock().map_err(failed())?;
        (&lock).write_all(HELD).map_err(failed())?;
        let new = directory.path().join(NEW);
        fs_err::create_dir(&new).map_err(failed())?;
        Ok(Self { to, new, directory, _lock: lock })
    }

    /// Where to make it.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// A directory for temporary files.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Puts it to its place. What was there is removed.
    ///
    /// # Errors
    /// The disk fails; then what was there still is.
    pub fn replace(self) -> Result<PathBuf, Error> {
        match exchange(&self.new, &self.to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs_err::rename(&self.new, &self.to).map_err(Error::io("write", &self.to))?;
            }
            // File systems that cannot exchange: for a moment there is neither.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let old = self.directory.path().join("old");
                fs_err::rename(&self.to, old)
                    .and_then(|()| fs_err::rename(&self.new, &self.to))
                    .map_err(Error::io("write", &self.to))?;
            }
            Err(error) => return Err(Error::io("write", &self.to)(error)),
        }
        Ok(self.to.clone())
    }
}

impl Drop for Staging {
    /// The lock goes last, so that what a kill leaves can be told from what is in the making.
    fn drop(&mut self) {
        let Ok(entries) = fs_err::read_dir(self.directory.path()) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK) {
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs_err::remove_dir_all(entry.path()),
                _ => fs_err::remove_file(entry.path()),
            };
        }
    }
}

/// Removes what killed processes left in `parent`. What cannot be removed is somebody else's, or gone.
fn sweep(parent: &Path) {
    let Ok(entries) = fs_err::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_abandoned(&path) {
            let _ = fs_err::remove_dir_all(&path);
        }
    }
}

fn is_abandoned(directory: &Path) -> bool {
    match open(&directory.join(LOCK), Links::Refuse) {
        Ok(lock) => lock.metadata().is_ok_and(|meta| meta.len() > 0) && lock.try_lock().is_ok(),
        // The lock file comes first and goes last.
        Err(_) => directory.join(NEW).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_takes_the_place_of_the_old_and_nothing_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let to = parent.path().join("product");
        for text in ["one", "two"] {
            let staging = Staging::beside(&to).unwrap();
            fs_err::write(staging.path().join(text), text).unwrap();
            staging.replace().unwrap();
            let names: Vec<_> = fs_err::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, [text]);
        }
        assert_eq!(fs_err::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_the_dead_left_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let to = parent.path().join("product");
        let live = Staging::beside(&to).unwrap();
        let dead = parent.path().join(".pixi-oci-new-dead");
        fs_err::create_dir_all(dead.join(NEW)).unwrap();
        let dying = parent.path().join(".pixi-oci-new-dying");
        fs_err::create_dir_all(&dying).unwrap();
        fs_err::write(dying.join(LOCK), HELD).unwrap();
        let other = Staging::beside(&to).unwrap();
        assert!(live.path().exists() && other.path().exists() && !dead.exists() && !dying.exists());
    }
}
