//! Built wheels on this machine.
//!
//! ```text
//! DIR/wheels/lock                 held by the one process that builds
//! DIR/wheels/KEY/NAME.whl         what a build made
//! DIR/wheels/KEY/sha256           its hash when it was made
//! DIR/wheels/tmp-…/               a build that runs, or was killed
//! DIR/wheels/tmp-host/            the environment and the build on this machine
//! ```

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open_lock, read_text};
use tempfile::TempDir;

use pixi_oci_pipeline::hash;

/// The cache, while this process holds its lock: each source is built once, whoever asks.
#[derive(Debug)]
pub struct WheelCache {
    directory: PathBuf,
    _lock: File,
}

const UNFINISHED: &str = "tmp-";
const HASH: &str = "sha256";

impl WheelCache {
    /// Opens the cache and waits until nobody else builds. What killed builds left is removed.
    pub fn open(cache: &Path) -> io::Result<Self> {
        let directory = cache.join("wheels");
        std::fs::create_dir_all(&directory)?;
        let lock = open_lock(&directory.join("lock"))?;
        lock.lock()?;
        for entry in std::fs::read_dir(&directory)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self { directory, _lock: lock })
    }

    /// The wheel of a key, if it is there and is what it was.
    pub fn get(&self, key: &str) -> Option<PathBuf> {
        let directory = self.directory.join(key);
        let recorded = read_text(&directory.join(HASH), Links::Refuse, 4096).ok()?;
        let wheel = std::fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.path());
        let wheel = wheel.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl"))?;
        (hash(&wheel).ok()?.0.to_string() == recorded.trim_end()).then_some(wheel)
    }

    /// A directory for a build.
    pub fn build_directory(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.directory)
    }

    /// The one directory of a build on this machine. Always the same, so that what is compiled into a wheel is, too; it
    /// belongs to who holds the lock, and goes away like what killed builds leave.
    pub fn host_directory(&self) -> PathBuf {
        self.directory.join(format!("{UNFINISHED}host"))
    }

    /// Keeps the wheel that is in a build's directory.
    pub fn put(&self, key: &str, directory: TempDir, wheel: &Path) -> io::Result<PathBuf> {
        std::fs::write(directory.path().join(HASH), format!("{}\n", hash(wheel)?.0))?;
        let place = self.directory.join(key);
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::rename(directory.keep(), &place)?;
        Ok(place.join(wheel.file_name().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_and_what_changed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = WheelCache::open(directory.path()).unwrap();
        assert_eq!(cache.get("key"), None);
        let build = cache.build_directory().unwrap();
        let wheel = build.path().join("a-1-py3-none-any.whl");
        std::fs::write(&wheel, "wheel").unwrap();
        let put = cache.put("key", build, &wheel).unwrap();
        assert_eq!(cache.get("key"), Some(put.clone()));
        std::fs::write(&put, "other").unwrap();
        assert_eq!(cache.get("key"), None);
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("wheels/tmp-dead");
        std::fs::create_dir_all(&left).unwrap();
        drop(WheelCache::open(directory.path()).unwrap());
        assert!(!left.exists());
    }
}
