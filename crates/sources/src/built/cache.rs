//! Built wheels on this machine.
//!
//! ```text
//! DIR/wheels/2/lock               held by the one process that builds
//! DIR/wheels/2/KEY/NAME.whl       what a build made
//! DIR/wheels/2/KEY/wheel.json     its name, and its hash when it was made
//! DIR/wheels/2/tmp-…/             a build that runs, or was killed
//! DIR/wheels/2/tmp-host/          the environment and the build on this machine
//! ```

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::{FileSet, Root, trim};
use pixi_oci_platform::{open_lock, touch};
use tempfile::TempDir;

use pixi_oci_pipeline::hash;

/// The cache, while this process holds its lock: each source is built once, whoever asks.
#[derive(Debug)]
pub struct WheelCache {
    root: Root,
    directory: PathBuf,
    _lock: File,
}

/// Where everything is, below the root of the caches; raised when the form changes.
const PLACE: &str = "wheels/2";
const UNFINISHED: &str = "tmp-";
const RECORD: &str = "wheel.json";
const MAX_RECORD: u64 = 4096;
/// What is left of wheels that were not used for longest.
const LIMIT: u64 = 5 << 30;

impl WheelCache {
    /// Opens the cache and waits until nobody else builds. What killed builds left is removed.
    pub fn open(root: &Root) -> io::Result<Self> {
        let directory = root.join(PLACE);
        fs::create_dir_all(&directory)?;
        let lock = open_lock(&directory.join("lock"))?;
        lock.lock()?;
        for entry in fs::read_dir(&directory)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self { root: root.clone(), directory, _lock: lock })
    }

    /// The wheel of a key, if it is there and is what it was.
    pub fn get(&self, key: &str) -> Option<PathBuf> {
        let record = self.directory.join(key).join(RECORD);
        let (name, sha256): (String, String) = self.root.read(&record, MAX_RECORD)?;
        let wheel = record.with_file_name(name);
        if hash(&wheel).is_ok_and(|(actual, _)| actual.to_string() == sha256) {
            // Its time is that of the last use.
            let _ = touch(&record);
            return Some(wheel);
        }
        self.root.damaged(&wheel);
        let _ = fs::remove_file(record);
        None
    }

    pub fn build_directory(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.directory)
    }

    /// The one directory of a build on this machine. Always the same, so that what is compiled into a wheel is, too; it
    /// belongs to who holds the lock, and goes away like what killed builds leave.
    pub fn host_directory(&self) -> PathBuf {
        self.directory.join(format!("{UNFINISHED}host"))
    }

    /// Keeps the wheel that is in a build's directory, and as many others as there is room for.
    pub fn put(&self, key: &str, directory: TempDir, wheel: &Path) -> io::Result<PathBuf> {
        let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = hash(wheel)?.0.to_string();
        let place = self.directory.join(key);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(directory.keep(), &place)?;
        self.root.write(&place.join(RECORD), &(&name, sha256))?;
        // What is left over costs room only.
        let _ = self.trim(LIMIT);
        Ok(place.join(name))
    }

    fn trim(&self, limit: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for directory in fs::read_dir(&self.directory)? {
            let directory = directory?;
            let record = directory.path().join(RECORD);
            let Ok(used) = fs::symlink_metadata(&record).and_then(|record| record.modified()) else { continue };
            let files = fs::read_dir(directory.path())?.collect::<io::Result<Vec<_>>>()?;
            let size = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
            // Without its record, a wheel is not there.
            let paths = [record].into_iter().chain(files.iter().map(fs::DirEntry::path)).collect();
            entries.push(FileSet { used, size, paths });
        }
        trim(entries, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_and_what_changed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = WheelCache::open(&Root::new(directory.path())).unwrap();
        assert_eq!(cache.get("key"), None);
        let build = cache.build_directory().unwrap();
        let wheel = build.path().join("a-1-py3-none-any.whl");
        std::fs::write(&wheel, "wheel").unwrap();
        let put = cache.put("key", build, &wheel).unwrap();
        assert_eq!(cache.get("key"), Some(put.clone()));
        std::fs::write(&put, "other").unwrap();
        assert_eq!(cache.get("key"), None);
    }

    /// `tests/damaged_cache.rs` has no built wheels: that needs containers.
    #[test]
    fn no_damage_gives_another_wheel_or_stays() {
        let damages: [fn(&Path, &Path); 5] = [
            |a, _| std::fs::write(a.join(RECORD), "").unwrap(),
            |a, _| std::fs::remove_file(a.join(RECORD)).unwrap(),
            |a, _| std::fs::rename(a.join("w-1-py3-none-any.whl"), a.join("x")).unwrap(),
            |a, b| {
                std::fs::rename(a.join(RECORD), a.join("x")).unwrap();
                std::fs::rename(b.join(RECORD), a.join(RECORD)).unwrap();
                std::fs::rename(a.join("x"), b.join(RECORD)).unwrap();
            },
            |a, b| {
                std::fs::rename(a, b.with_file_name("x")).unwrap();
                std::fs::rename(b, a).unwrap();
                std::fs::rename(b.with_file_name("x"), b).unwrap();
            },
        ];
        for damage in damages {
            let directory = tempfile::tempdir().unwrap();
            let cache = WheelCache::open(&Root::new(directory.path())).unwrap();
            let put = |key: &str| {
                let build = cache.build_directory().unwrap();
                let wheel = build.path().join("w-1-py3-none-any.whl");
                std::fs::write(&wheel, key).unwrap();
                cache.put(key, build, &wheel).unwrap()
            };
            let [a, b] = ["a", "b"].map(put);
            damage(a.parent().unwrap(), b.parent().unwrap());
            for key in ["a", "b"] {
                let found = cache.get(key).map(|wheel| std::fs::read_to_string(wheel).unwrap());
                assert!(found.as_deref().is_none_or(|text| text == key), "{found:?}");
                put(key);
                assert!(cache.get(key).is_some());
            }
        }
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let left = directory.path().join("wheels/2/tmp-dead");
        std::fs::create_dir_all(&left).unwrap();
        drop(WheelCache::open(&Root::new(directory.path())).unwrap());
        assert!(!left.exists());
    }
}
