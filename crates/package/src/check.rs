//! How the paths of one package may relate to one another.
//!
//! A path comes once, and nothing is below something that is not a directory. So no entry can be written through a link
//! of the same archive, and every unpacker makes the same tree.

use std::collections::{HashMap, hash_map::Entry};

use pixi_oci_layer::TreePath;
use rattler_conda_types::package::PathType;

use crate::error::{Error, Refusal};

/// The most paths, with the directories above them: ten times what large packages have.
const MAX_PATHS: u64 = 1_000_000;
/// As many paths have also the smallest packages.
const FREE_PATHS: u64 = 100_000;
/// Beyond them, each path takes so many bytes of an archive: its digest alone, which cannot be compressed, is 32.
const BYTES_OF_PATH: u64 = 40;
/// The most bytes of their names, which are kept in memory.
const MAX_NAME_BYTES: u64 = 64 << 20;

/// The most paths in an archive of that length. Each takes about a kilobyte of memory until the package's tree is made.
pub(crate) fn max_paths(archive: u64) -> u64 {
    (FREE_PATHS + archive / BYTES_OF_PATH).min(MAX_PATHS)
}

/// What has been seen of an archive, or of a list of its paths.
pub struct Checker {
    /// Whether each path is a directory.
    seen: HashMap<TreePath, bool>,
    /// The last path.
    last: Option<TreePath>,
    paths: u64,
    name_bytes: u64,
    max_paths: u64,
}

impl Checker {
    /// For an archive of that many bytes.
    pub fn new(archive: u64) -> Self {
        Self { seen: HashMap::new(), last: None, paths: 0, name_bytes: 0, max_paths: max_paths(archive) }
    }

    /// Takes note of a path of `package`.
    ///
    /// # Errors
    /// It is there already, is below something that is not a directory, or is one path too many.
    pub fn add(&mut self, package: &str, path: &TreePath, is_directory: bool) -> Result<(), Error> {
        self.check(path, is_directory).map_err(|refusal| Error::path(package, path.as_str(), refusal))?;
        let limits = [(self.paths, self.max_paths, "paths"), (self.name_bytes, MAX_NAME_BYTES, "bytes of names")];
        match limits.into_iter().find(|(count, limit, _)| count > limit) {
            Some((_, limit, what)) => Err(Error::TooBig { package: package.into(), what, limit }),
            None => Ok(()),
        }
    }

    fn check(&mut self, path: &TreePath, is_directory: bool) -> Result<(), Refusal> {
        self.count(path.as_str());
        let mut below = path.as_str();
        // Neighbours are mostly in one directory.
        let last = self.last.replace(path.clone());
        let is_new = last.is_none_or(|last| above(last.as_str()) != above(below));
        // From below, and only up to the first that is known, so that deep paths are not slow.
        while is_new && let Some(above) = above(below) {
            match self.seen.get(above) {
                Some(true) => break,
                Some(false) => return Err(Refusal::Below(above.into())),
                None => {
                    self.count(above);
                    self.seen.insert(TreePath::new(above)?, true);
                }
            }
            below = above;
        }
        match self.seen.entry(path.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(is_directory);
                Ok(())
            }
            Entry::Occupied(entry) if *entry.get() && is_directory => Ok(()),
            Entry::Occupied(_) => Err(Refusal::Duplicate),
        }
    }

    fn count(&mut self, path: &str) {
        self.paths += 1;
        self.name_bytes += path.len() as u64;
    }
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
}

/// Refuses paths, given in their order, that cannot all be in one tree.
pub(crate) fn check_tree<'a>(
    package: &str,
    paths: impl Iterator<Item = (&'a TreePath, PathType)>,
) -> Result<(), Error> {
    // Sorted, a path comes after the directories above it.
    let mut checker = Checker::new(u64::MAX);
    let mut last: Option<&TreePath> = None;
    for (path, kind) in paths {
        checker.add(package, path, kind == PathType::Directory)?;
        if last.replace(path) == Some(path) {
            return Err(Error::path(package, path.as_str(), Refusal::Duplicate));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_archives_have_fewer_paths() {
        assert_eq!([0, 10 << 20, 1 << 40].map(max_paths), [100_000, 362_144, 1_000_000]);
    }

    #[test]
    fn nothing_is_written_twice_or_through_a_link() {
        let mut checker = Checker::new(0);
        let mut add = |path: &str, is_directory| checker.check(&TreePath::new(path).unwrap(), is_directory);
        add("d", true).unwrap();
        add("d", true).unwrap();
        add("d/f", false).unwrap();
        assert_eq!(add("d/f", false), Err(Refusal::Duplicate));
        assert_eq!(add("d/f", true), Err(Refusal::Duplicate));
        assert_eq!(add("d/f/x/y", false), Err(Refusal::Below("d/f".into())));
        add("e/f", false).unwrap();
        assert_eq!(add("e", false), Err(Refusal::Duplicate));
        add("e/g", false).unwrap();
        add("f", false).unwrap();
        assert_eq!(add("f/x", false), Err(Refusal::Below("f".into())));
    }
}
