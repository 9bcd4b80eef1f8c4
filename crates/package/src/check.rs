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
        self.check_limits(package)
    }

    fn check_limits(&self, package: &str) -> Result<(), Error> {
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

/// The directory that a path is in.
pub(crate) fn above(path: &str) -> Option<&str> {
    // Names are short: `rsplit_once` takes longer.
    let end = path.bytes().rposition(|byte| byte == b'/')?;
    path.get(..end)
}

/// Refuses paths, given in their order, that cannot all be in one tree.
pub(crate) fn check_tree<'a>(
    package: &str,
    paths: impl Iterator<Item = (&'a TreePath, PathType)>,
) -> Result<(), Error> {
    count_tree(package, paths).map(drop)
}

fn count_tree<'a>(package: &str, paths: impl Iterator<Item = (&'a TreePath, PathType)>) -> Result<Checker, Error> {
    // Sorted, all paths that begin with the same text come one after another. So those with which a path begins, among them what is
    // above it, are the last few.
    let mut begins: Vec<(&str, bool)> = Vec::new();
    let (mut checker, mut last) = (Checker::new(u64::MAX), None);
    for (path, kind) in paths {
        let path = path.as_str();
        if last.is_some_and(|last| path <= last) {
            return Err(Error::path(package, path, Refusal::Duplicate));
        }
        begins.truncate(begins.iter().rposition(|(begin, _)| path.starts_with(begin)).map_or(0, |at| at + 1));
        let is_above = |begin: &str| path.as_bytes().get(begin.len()) == Some(&b'/');
        if let Some((begin, _)) = begins.iter().rfind(|(begin, is_directory)| !is_directory && is_above(begin)) {
            return Err(Error::path(package, path, Refusal::Below((*begin).into())));
        }
        checker.count(path);
        let mut below = path;
        // Of one length there is one.
        let is_listed = |above: &str| begins.binary_search_by_key(&above.len(), |(begin, _)| begin.len()).is_ok();
        let is_known = |above: &str| last.is_some_and(|last| is_in(last, above)) || is_listed(above);
        while let Some(above) = above(below).filter(|above| !is_known(above)) {
            checker.count(above);
            below = above;
        }
        checker.check_limits(package)?;
        begins.push((path, kind == PathType::Directory));
        last = Some(path);
    }
    Ok(checker)
}

/// Whether a path is in a directory, or in one that is in it.
fn is_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_archives_have_fewer_paths() {
        assert_eq!([0, 10 << 20, 1 << 40].map(max_paths), [100_000, 362_144, 1_000_000]);
    }

    #[test]
    fn a_sorted_list_is_judged_and_counted_as_an_archive_is() {
        let names = ["a", "a-b", "a/b", "a/b/c", "a0", "b/c", "b/c-d", "b/c/d"];
        let paths = names.map(|name| TreePath::new(name).unwrap());
        let (mut good, mut bad) = (0, 0);
        for chosen in 0..1u32 << names.len() {
            for directories in (0..1u32 << names.len()).filter(|directories| directories & !chosen == 0) {
                let is_in = |set: u32, at: usize| set & (1 << at) != 0;
                let kind = |at| if is_in(directories, at) { PathType::Directory } else { PathType::HardLink };
                let list = || (0..names.len()).filter(|at| is_in(chosen, *at)).map(|at| (&paths[at], kind(at)));
                let mut checker = Checker::new(0);
                let mut all = list();
                let one_by_one = all.try_for_each(|(path, kind)| checker.add("p", path, kind == PathType::Directory));
                match (count_tree("p", list()), one_by_one) {
                    (Ok(counted), Ok(())) => {
                        assert_eq!((counted.paths, counted.name_bytes), (checker.paths, checker.name_bytes));
                        good += 1;
                    }
                    (Err(error), Err(expected)) => {
                        assert_eq!(error.to_string(), expected.to_string());
                        bad += 1;
                    }
                    (ours, theirs) => panic!("{:?} {:?}", ours.err(), theirs.err()),
                }
            }
        }
        assert!(good > 500 && bad > 500, "{good} {bad}");
        let twice = [(&paths[0], PathType::Directory); 2];
        assert!(check_tree("p", twice.into_iter()).is_err());
        assert!(
            check_tree("p", [(&paths[4], PathType::HardLink), (&paths[0], PathType::HardLink)].into_iter()).is_err()
        );
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
