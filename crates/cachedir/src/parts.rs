//! The parts of the cache as a whole: how large they are, and how they become smaller.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open};
use serde::Serialize;

use crate::{FileSet, Root, blobs::note_path, trim};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheDirectory {
    /// Its name, such as `archives`.
    pub name: String,
    /// Regular files below it.
    pub files: u64,
    pub bytes: u64,
}

impl Root {
    /// All parts that exist, by name.
    pub fn parts(&self) -> io::Result<Vec<CacheDirectory>> {
        let mut parts = Vec::new();
        let entries = match fs::read_dir(self) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(parts),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.file_type()?.is_dir() {
                let files = files(&entry.path())?;
                let bytes =
                    files.iter().filter_map(|file| fs::symlink_metadata(file).ok()).map(|file| file.len()).sum();
                parts.push(CacheDirectory { name, files: files.len() as u64, bytes });
            }
        }
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(parts)
    }

    /// Removes what was not used for longest of a part until the rest has at most `limit` bytes. `false`: it is in use, and
    /// nothing was removed.
    pub fn trim_part(&self, name: &str, limit: u64) -> io::Result<bool> {
        let part = self.join(name);
        let Some(_locks) = locks(&part)? else { return Ok(false) };
        let files = files(&part)?;
        let notes: BTreeSet<PathBuf> = files.iter().map(|file| note_path(file)).collect();
        let is_lock = |file: &Path| file.file_name().is_some_and(|name| name == "lock");
        let files = files.into_iter().filter(|file| !notes.contains(file) && !is_lock(file));
        trim(files.map(FileSet::of).collect::<io::Result<_>>()?, limit)?;
        Ok(true)
    }

    /// Removes a part. `false`: it is in use, and nothing was removed.
    pub fn clear_part(&self, name: &str) -> io::Result<bool> {
        let part = self.join(name);
        let Some(_locks) = locks(&part)? else { return Ok(false) };
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}

/// The locks of a part, which are in its directory and in those of versions below it. `None`: somebody holds one.
fn locks(part: &Path) -> io::Result<Option<Vec<File>>> {
    let mut directories = vec![part.to_owned()];
    match fs::read_dir(part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
        entries => {
            for entry in entries? {
                directories.push(entry?.path());
            }
        }
    }
    let mut held = Vec::new();
    for directory in directories {
        let Ok(lock) = open(&directory.join("lock"), Links::Refuse) else { continue };
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        held.push(lock);
    }
    Ok(Some(held))
}

/// The regular files below a directory.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // What is removed meanwhile takes no room.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_trimmed_and_cleared_unless_it_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        assert_eq!(root.parts().unwrap(), []);
        for name in ["old", "new"] {
            root.write(&root.join("base/2/ab").join(name), &"x".repeat(100)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let held = root.hold(&root.join("base/2"));
        assert!(!root.trim_part("base", 0).unwrap() && !root.clear_part("base").unwrap());
        drop(held);
        let size = |files| CacheDirectory { name: "base".into(), files, bytes: (files - 1) * 167 };
        assert_eq!(root.parts().unwrap(), [size(3)]);
        assert!(root.trim_part("base", 200).unwrap());
        assert!(root.join("base/2/ab/new").exists());
        assert_eq!(root.parts().unwrap(), [size(2)]);
        assert!(root.clear_part("base").unwrap() && root.clear_part("base").unwrap());
        assert_eq!(root.parts().unwrap(), []);
    }
}
