//! A directory that a library fills, with names of its own: what was changed since is dropped.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open};
use serde::{Deserialize, Serialize};

use crate::{Root, blobs::Identity, sha256_of};

/// The list of what there is, in the directory itself.
const LIST: &str = "sealed.json";
/// 100,000 files.
const MAX_LIST: u64 = 64 << 20;

/// Such a directory, a part of the cache.
#[derive(Debug)]
pub struct Sealed<'a> {
    root: &'a Root,
    directory: PathBuf,
}

/// What a file was when the directory was sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seal {
    identity: Identity,
    sha256: String,
}

impl<'a> Sealed<'a> {
    pub fn new(root: &'a Root, part: &str) -> Self {
        Self { root, directory: root.join(part) }
    }

    /// Removes what is not as it was when the directory was sealed, unless it is in use now.
    pub fn check(&self) -> io::Result<()> {
        let check = || {
            let seals = self.seals();
            for (name, path) in self.files()? {
                match seals.get(&name) {
                    Some(seal) if self.is_whole(&path, seal)? => continue,
                    Some(_) => self.root.damaged(&path),
                    // It was never finished, or another version made it.
                    None => {}
                }
                fs::remove_file(path)?;
            }
            Ok(())
        };
        self.root.when_free(&self.directory, check).map(drop)
    }

    /// Notes what there is now. Only what changed is hashed.
    pub fn seal(&self) -> io::Result<()> {
        let mut seals = self.seals();
        let mut now = BTreeMap::new();
        for (name, path) in self.files()? {
            let identity = Identity::of(&path)?;
            let seal = match seals.remove(&name).filter(|seal| seal.identity == identity) {
                Some(seal) => seal,
                None => Seal { identity, sha256: sha256_of(&mut open(&path, Links::Refuse)?)?.0 },
            };
            now.insert(name, seal);
        }
        self.root.write(&self.directory.join(LIST), &now)
    }

    fn seals(&self) -> BTreeMap<String, Seal> {
        self.root.read(&self.directory.join(LIST), MAX_LIST).unwrap_or_default()
    }

    fn is_whole(&self, path: &Path, seal: &Seal) -> io::Result<bool> {
        if Identity::of(path)? == seal.identity && !self.root.must_check(path) {
            return Ok(true);
        }
        Ok(sha256_of(&mut open(path, Links::Refuse)?)?.0 == seal.sha256)
    }

    /// All files by their paths below the directory, but locks and what is in the making.
    fn files(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let (mut found, mut left) = (BTreeMap::new(), vec![self.directory.clone()]);
        while let Some(directory) = left.pop() {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
                let name = path.strip_prefix(&self.directory).unwrap_or(&path).to_string_lossy().into_owned();
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let is_other = file == "lock" || file.ends_with(".lock") || file.starts_with('.') || name == LIST;
                match entry? {
                    kind if kind.is_dir() => left.push(path),
                    kind if kind.is_file() && !is_other => drop(found.insert(name, path)),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    #[test]
    fn what_was_changed_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let sealed = Sealed::new(&root, "part");
        sealed.check().unwrap();
        let [a, b, c, lock] = ["part/a", "part/b/b", "part/c", "part/c.lock"].map(|name| root.join(name));
        let write = || {
            fs::create_dir_all(root.join("part/b")).unwrap();
            [&a, &b, &c, &lock].into_iter().for_each(|path| fs::write(path, path.to_str().unwrap()).unwrap());
            sealed.seal().unwrap();
        };
        let left = || {
            sealed.check().unwrap();
            assert!(lock.exists());
            ([&a, &b, &c].map(|path| path.exists()), root.take_damaged().len())
        };
        write();
        assert_eq!(left(), ([true, true, true], 0));
        // As if it had not been written to.
        let time = fs::metadata(&a).unwrap().modified().unwrap();
        fs::write(&a, b.to_str().unwrap()).unwrap();
        File::options().write(true).open(&a).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        assert_eq!(left(), ([false, true, true], 1));
        write();
        fs::rename(&a, root.join("part/between")).unwrap();
        fs::rename(&c, &a).unwrap();
        fs::rename(root.join("part/between"), &c).unwrap();
        assert_eq!(left(), ([false, true, false], 2));
        // Touched, and otherwise the same.
        write();
        fs::write(&b, b.to_str().unwrap()).unwrap();
        assert_eq!(left(), ([true, true, true], 0));
        // It is not known what it is; without a list that is everything.
        write();
        fs::write(root.join("part/other"), "x").unwrap();
        assert_eq!((left(), root.join("part/other").exists()), (([true, true, true], 0), false));
        fs::write(root.join("part/sealed.json"), "x").unwrap();
        assert_eq!(left(), ([false, false, false], 1));
    }
}
