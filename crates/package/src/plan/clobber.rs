//! Who keeps a path that several packages have.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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
    let mut leaves: HashSet<&str> = HashSet::with_capacity(items.iter().map(Vec::len).sum());
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

/// Whether a file or link of one package is where, or above where, another one has something that is no directory. Gives
/// the paths of all that are none.
fn is_contested<'a>(items: &'a [Vec<Item>], leaves: &mut HashSet<&'a str>) -> bool {
    let mut all = items.iter().flatten().filter(|item| !item.what.is_directory());
    if !all.all(|item| leaves.insert(item.resolved.as_str())) {
        return true;
    }
    let mut known = "";
    items.iter().flatten().filter(|item| !item.what.is_directory()).any(|item| {
        let parent = item.resolved.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        let above = parent != known && item.resolved.ancestors().any(|path| leaves.contains(path));
        known = parent;
        above
    })
}
