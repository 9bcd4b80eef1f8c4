//! Who keeps a path that several packages have.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher, RandomState},
};

use path_resolver::PathResolver;
use pixi_oci_layer::TreePath;
use pixi_oci_platform::escape;
use rattler_conda_types::PackageRecord;
use rayon::prelude::*;

use super::{item::Item, model::PlanInput};
use crate::{check::above, error::Error};

/// Where rattler puts the losers (`install/clobber_registry.rs`).
const CLOBBERS: &str = "__clobbers__";

/// What becomes of a path.
pub(super) enum Placed {
    /// Nobody else has it, or the others lose.
    Stays,
    /// It goes there.
    Loses(TreePath),
    /// A directory that need not be made.
    Dropped,
}

/// The rank of each package: the one with the highest keeps a path.
pub(super) fn ranks(packages: &[PlanInput<'_>]) -> Result<Vec<usize>, Error> {
    #[derive(Clone)]
    struct Numbered<'a>(usize, &'a PackageRecord);
    impl AsRef<PackageRecord> for Numbered<'_> {
        fn as_ref(&self) -> &PackageRecord {
            self.1
        }
    }

    let mut names = HashSet::new();
    if let Some(double) = packages.iter().find(|package| !names.insert(package.record.name.as_normalized())) {
        return Err(Error::PackageTwice { package: escape(double.record.name.as_normalized()) });
    }
    let numbered = packages.iter().enumerate().map(|(index, package)| Numbered(index, package.record)).collect();
    let mut ranks = vec![0; packages.len()];
    for (rank, Numbered(index, _)) in PackageRecord::sort_topologically(numbered).into_iter().enumerate() {
        ranks[index] = rank;
    }
    Ok(ranks)
}

/// What becomes of each item of each package.
pub(super) fn place(
    packages: &[PlanInput<'_>],
    ranks: &[usize],
    items: &[Vec<Item>],
) -> Result<Vec<Vec<Placed>>, Error> {
    // rattler registers packages as they are downloaded and corrects the result afterwards. Registering them in the
    // order of priority needs no correction, and cannot depend on anything else.
    let mut by_priority: Vec<_> = (0..packages.len()).collect();
    by_priority.sort_by_key(|package| std::cmp::Reverse(ranks[*package]));

    let leaves_of = |package: usize| items[package].iter().filter(|item| !item.what.is_directory());
    let mut losers: BTreeMap<usize, HashSet<String>> = BTreeMap::new();
    let mut leaves: HashSet<&str> = HashSet::new();
    let mut resolver = PathResolver::new();
    // Where nothing is contested, no file or link is in the way of a directory, either.
    let contested = is_contested(items);
    for package in by_priority.iter().filter(|_| contested) {
        let paths: Vec<_> = leaves_of(*package).map(|item| item.resolved.as_str()).collect();
        let name = packages[*package].record.name.as_normalized();
        let lost: HashSet<_> = resolver
            .insert_package(name.into(), &paths)
            .into_iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        leaves.extend(paths.into_iter().filter(|path| !lost.contains(*path)));
        losers.insert(*package, lost);
    }

    // Directories contest nothing: two packages may have the same one, and a file in its place wins. Only the package
    // of the highest priority has it in its tree, so that trees can be merged.
    let mut directories = BTreeSet::new();
    let mut placed: Vec<Vec<Placed>> = packages.iter().map(|_| Vec::new()).collect();
    for package in by_priority {
        let name = packages[package].record.name.as_normalized();
        for item in &items[package] {
            let path = &item.resolved;
            placed[package].push(if item.what.is_directory() {
                let taken = path.ancestors().chain([path.as_str()]).any(|at| leaves.contains(at));
                if !taken && directories.insert(path) { Placed::Stays } else { Placed::Dropped }
            } else if losers.get(&package).is_some_and(|lost| lost.contains(path.as_str())) {
                let to = format!("{CLOBBERS}/{name}/{path}");
                Placed::Loses(TreePath::new(&to).map_err(|e| Error::path(&packages[package].facts.file_name, to, e))?)
            } else {
                Placed::Stays
            });
        }
    }
    Ok(placed)
}

/// Whether a file or link of one package is where, or above where, another one has something. Paths are compared by their hashes: two
/// that have the same one by chance only cost the time to look closer.
fn is_contested(items: &[Vec<Item>]) -> bool {
    let state = RandomState::new();
    let hashed: Vec<Hashed> = items.par_iter().map(|items| Hashed::new(items, &state)).collect();
    // Which package has something in a directory, or is it; `None` where several do.
    let mut directories: HashMap<u64, Option<usize>, BuildHasherDefault<Itself>> = HashMap::default();
    directories.reserve(hashed.iter().map(|hashed| hashed.directories.len()).sum());
    for (package, hashed) in hashed.iter().enumerate() {
        for directory in &hashed.directories {
            let owner = directories.entry(*directory).or_insert(Some(package));
            *owner = owner.filter(|owner| *owner == package);
        }
    }
    // No others can be in the way of anything.
    let is_shared = |directory: Option<u64>| directory.is_none_or(|at| directories.get(&at) == Some(&None));
    let mut leaves: HashSet<u64, BuildHasherDefault<Itself>> = HashSet::default();
    leaves.reserve(hashed.iter().map(|hashed| hashed.leaves.len()).sum());
    let neighbours = hashed.iter().flat_map(|hashed| hashed.leaves.chunk_by(|one, other| one.0 == other.0));
    let shared = neighbours.filter(|leaves| is_shared(leaves[0].0)).flatten();
    for (_, leaf) in shared {
        if !leaves.insert(*leaf) || directories.contains_key(leaf) {
            return true;
        }
    }
    false
}

/// Of one package, by the hashes of their paths.
struct Hashed {
    /// Directories that it has something in, or is.
    directories: Vec<u64>,
    /// Files and links, each with the directory that it is in.
    leaves: Vec<(Option<u64>, u64)>,
}

impl Hashed {
    fn new(items: &[Item], state: &RandomState) -> Self {
        let mut hashed = Self { directories: Vec::new(), leaves: Vec::with_capacity(items.len()) };
        // The directory before, with the hashes of all that it is in: most of them are above the next one, too.
        let mut known = PathHash { path: "", parts: Vec::new(), state };
        let mut at = None;
        for item in items {
            let path = item.resolved.as_str();
            let directory = if item.what.is_directory() { Some(path) } else { above(path) };
            at = match directory {
                Some(directory) if at.is_some() && directory == known.path => at,
                Some(directory) => Some(known.follow(directory, &mut hashed.directories)),
                None => None,
            };
            if !item.what.is_directory() {
                hashed.leaves.push((at, known.of(directory, path)));
            }
        }
        hashed
    }
}

/// What is hashed already is its own hash.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A path, with what is hashed of it up to the end of each of its parts.
struct PathHash<'a> {
    path: &'a str,
    parts: Vec<(usize, DefaultHasher)>,
    state: &'a RandomState,
}

impl<'a> PathHash<'a> {
    /// Becomes another path, and gives its hash. Those of it and of the directories above it that are not the same as before are added
    /// to `new`.
    fn follow(&mut self, path: &'a str, new: &mut Vec<u64>) -> u64 {
        let (one, other) = (self.path.as_bytes(), path.as_bytes());
        let same = (0..one.len().min(other.len())).take_while(|at| one[*at] == other[*at]).count();
        let ends = |end: usize| other.get(end).is_none_or(|byte| *byte == b'/');
        while self.parts.pop_if(|(end, _)| *end > same || !ends(*end)).is_some() {}
        let (mut start, mut hasher) = match self.parts.last() {
            Some((end, hasher)) => (end + 1, hasher.clone()),
            None => (0, self.state.build_hasher()),
        };
        self.path = path;
        while start <= other.len() {
            let end = other[start..].iter().position(|byte| *byte == b'/').map_or(other.len(), |len| start + len);
            hasher.write(&other[start..end]);
            hasher.write_u8(b'/');
            new.push(hasher.finish());
            self.parts.push((end, hasher.clone()));
            start = end + 1;
        }
        hasher.finish()
    }

    /// The hash of what is in a directory: this path, or the root.
    fn of(&self, directory: Option<&str>, path: &str) -> u64 {
        let (start, mut hasher) = match (directory, self.parts.last()) {
            (Some(directory), Some((_, hasher))) => (directory.len() + 1, hasher.clone()),
            _ => (0, self.state.build_hasher()),
        };
        hasher.write(&path.as_bytes()[start..]);
        hasher.write_u8(b'/');
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use rattler_conda_types::package::PathType;

    use super::{super::item::ItemSource, *};

    /// Every way in which two packages have two of these paths each, that are possible in one package.
    #[test]
    fn what_is_in_the_way_is_found_and_nothing_else_is_contested() {
        let names = ["a", "a/b", "a/b/c", "a-b", "d/e", "d/e/f", "d/g"];
        let is_below = |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'));
        let item = |(name, is_directory): (&str, bool)| {
            let path = TreePath::new(name).unwrap();
            let kind = if is_directory { PathType::Directory } else { PathType::HardLink };
            Item { what: ItemSource::Path(0, kind), resolved: path.clone(), own: path }
        };
        let all: Vec<(&str, bool)> = names.iter().flat_map(|name| [(*name, false), (*name, true)]).collect();
        let fits = |one: (&str, bool), two: (&str, bool)| {
            one.0 != two.0 && (one.1 || !is_below(two.0, one.0)) && (two.1 || !is_below(one.0, two.0))
        };
        let pairs =
            || all.iter().flat_map(|one| all.iter().map(|two| [*one, *two])).filter(|[one, two]| fits(*one, *two));
        let (mut contested, mut free) = (0, 0);
        for ours in pairs() {
            for theirs in pairs() {
                let items = [ours, theirs].map(|of_package| of_package.map(item).into());
                let meets = |one: (&str, bool), two: (&str, bool)| !one.1 && (is_below(two.0, one.0) || one.0 == two.0);
                let met = ours.iter().any(|one| theirs.iter().any(|two| meets(*one, *two) || meets(*two, *one)));
                assert_eq!(is_contested(&items), met, "{ours:?} {theirs:?}");
                (contested, free) = if met { (contested + 1, free) } else { (contested, free + 1) };
            }
        }
        assert!(contested > 1000 && free > 1000, "{contested} {free}");
    }
}
