//! Who keeps a path that several packages have.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry};

use path_resolver::PathResolver;
use pixi_oci_layer::TreePath;
use rattler_conda_types::PackageRecord;

use super::{item::Item, model::PlanInput};
use crate::error::{Error, escape};

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
    let contested = is_contested(items, &mut leaves);
    if contested {
        leaves.clear();
    }
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

/// Whether a file or link of one package is where, or above where, another one has something. Gives the files and links that are in
/// a directory of several packages: no others can be in the way of anything.
fn is_contested<'a>(items: &'a [Vec<Item>], leaves: &mut HashSet<&'a str>) -> bool {
    let count: usize = items.iter().map(Vec::len).sum();
    // Directories have several paths each.
    let mut directories: HashMap<&str, Owner> = HashMap::with_capacity(count / 4);
    for (package, items) in items.iter().enumerate() {
        let mut known = None;
        for item in items {
            let path = item.resolved.as_str();
            let at = if item.what.is_directory() { Some(path) } else { above(path) };
            // Neighbours are mostly in one directory.
            if at != known {
                own(&mut directories, package, at);
                known = at;
            }
        }
    }
    leaves.reserve(count);
    for items in items {
        let (mut known, mut is_shared) = (None, true);
        for item in items.iter().filter(|item| !item.what.is_directory()) {
            let path = item.resolved.as_str();
            let parent = above(path);
            if parent != known {
                is_shared = parent.is_none_or(|parent| directories.get(parent) == Some(&Owner::Several));
                known = parent;
            }
            if is_shared && !leaves.insert(path) {
                return true;
            }
        }
    }
    directories.keys().any(|directory| leaves.contains(directory))
}

/// Which packages have something in a directory, or are it.
#[derive(PartialEq, Eq)]
enum Owner {
    One(usize),
    Several,
}

/// Notes that a package has a directory, and with it those above. Where that is known, it is known of those above it, too: what
/// several have is in what several have.
fn own<'a>(directories: &mut HashMap<&'a str, Owner>, package: usize, mut at: Option<&'a str>) {
    while let Some(directory) = at {
        match directories.entry(directory) {
            Entry::Vacant(entry) => drop(entry.insert(Owner::One(package))),
            Entry::Occupied(mut entry) => match entry.get() {
                Owner::One(owner) if *owner != package => drop(entry.insert(Owner::Several)),
                _ => return,
            },
        }
        at = above(directory);
    }
}

fn above(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(above, _)| above)
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
                let mut leaves = HashSet::new();
                assert_eq!(is_contested(&items, &mut leaves), met, "{ours:?} {theirs:?}");
                (contested, free) = if met { (contested + 1, free) } else { (contested, free + 1) };
            }
        }
        assert!(contested > 1000 && free > 1000, "{contested} {free}");
    }
}
