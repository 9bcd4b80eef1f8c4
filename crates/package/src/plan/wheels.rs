//! Where the paths of wheels go beside those of conda packages.
//!
//! pixi installs the conda packages first and then has uv install the wheels over them, several at a time. A file that is
//! there already is overwritten, whatever package it is of; which of two wheels wins depends on luck. Here the wheels are
//! taken in the order in which they are given: the last one that has a path keeps it, and a wheel always wins over a conda
//! package. What is overwritten is left out of the package that loses it, because layers lie in another order.

use std::collections::{BTreeMap, HashMap, HashSet};

use pixi_oci_layer::TreePath;
use rattler_conda_types::package::PathType;

use super::{
    links::{LinkMap, Owner},
    model::{Change, LinkPlan, PlanInput},
};
use crate::{
    error::{Error, Refusal},
    facts::{Links, WheelFacts, WheelPath},
};

/// What wheels do to an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WheelPlan {
    /// What the other packages change about each wheel, in the order of paths.
    pub changes: Vec<Vec<Change>>,
    /// The files that one package has and another one keeps, in the order of paths.
    pub overwritten: Vec<Overwritten>,
}

/// A file that two packages have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overwritten {
    /// Below the prefix.
    pub path: TreePath,
    /// The index of the wheel whose file is in the image.
    pub by: usize,
    /// The package whose file is not.
    pub of: PathOwner,
}

/// A conda package or wheel, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathOwner {
    /// A conda package.
    Conda(usize),
    /// A wheel.
    Wheel(usize),
}

/// Puts `wheels` over the conda `packages`, whose `plans` lose what the wheels overwrite. `outside_links` and `links_of` are
/// those of [`link_plan`](super::link_plan).
/// A file where another package has a directory with something in it is an error: uv cannot
/// install such packages, in whatever order.
pub fn wheel_plan(
    packages: &[PlanInput<'_>],
    plans: &mut [LinkPlan],
    wheels: &[&WheelFacts],
    outside_links: &Links,
    links_of: &mut dyn FnMut(usize) -> Result<Links, Error>,
) -> Result<WheelPlan, Error> {
    if wheels.is_empty() {
        // Conda packages have settled everything between themselves.
        return Ok(WheelPlan::default());
    }
    let resolved = resolve(packages, plans, wheels, outside_links, links_of)?;
    let mut plan = WheelPlan { changes: wheels.iter().map(|_| Vec::new()).collect(), overwritten: Vec::new() };

    let mut leaves: HashMap<&str, PathOwner> = HashMap::new();
    let conda: Vec<(TreePath, usize)> =
        conda_leaves(packages, plans).map(|(path, owner)| (path, owner.package)).collect();
    leaves.extend(conda.iter().map(|(path, package)| (path.as_str(), PathOwner::Conda(*package))));
    for (wheel, paths) in resolved.iter().enumerate() {
        let mut own = HashSet::new();
        for (path, to) in paths.iter().filter(|(path, _)| !path.is_directory) {
            if !own.insert(to) {
                let refusal = Refusal::SamePlace(to.as_str().into());
                return Err(Error::path(&wheels[wheel].file_name, path.path.as_str(), refusal));
            }
            if let Some(of) = leaves.insert(to.as_str(), PathOwner::Wheel(wheel)) {
                plan.overwritten.push(Overwritten { path: to.clone(), by: wheel, of });
            }
        }
    }
    // Every loser lost to the next one; what is in the image is the last one's.
    for lost in &mut plan.overwritten {
        if let Some(PathOwner::Wheel(wheel)) = leaves.get(lost.path.as_str()) {
            lost.by = *wheel;
        }
    }
    plan.overwritten.sort();
    check_nested(packages, wheels, &leaves)?;

    let mut directories: HashSet<&TreePath> = HashSet::new();
    for (index, conda) in plans.iter_mut().enumerate() {
        let facts = packages[index].facts;
        let is_directory = |at: usize| facts.paths[at].1 == PathType::Directory;
        let stays = |path: &TreePath, is_directory: bool| {
            if is_directory {
                !is_taken(path, &leaves)
            } else {
                leaves.get(path.as_str()) == Some(&PathOwner::Conda(index))
            }
        };
        let mut dropped = Vec::new();
        let mut keep = |path: &TreePath, is_directory: bool| {
            let stays = stays(path, is_directory);
            if !stays {
                dropped.push(Change::Dropped { path: path.clone() });
            }
            stays
        };
        conda.paths.retain(|planned| keep(&planned.path, is_directory(planned.index)));
        conda.entry_points.retain(|planned| keep(&planned.path, false));
        conda.changes.extend(dropped);
        conda.changes.sort();
    }
    for (index, conda) in plans.iter().enumerate() {
        let listed = &packages[index].facts.paths;
        let own = conda.paths.iter().filter(|planned| listed[planned.index].1 == PathType::Directory);
        directories.extend(own.map(|planned| &planned.path));
    }
    for (wheel, paths) in resolved.iter().enumerate() {
        let changes = &mut plan.changes[wheel];
        let mut dropped = HashSet::new();
        for (path, to) in paths {
            if path.path != *to {
                changes.push(Change::Resolved { path: path.path.clone(), to: to.clone() });
            }
            let stays = if path.is_directory {
                !is_taken(to, &leaves) && directories.insert(to)
            } else {
                leaves.get(to.as_str()) == Some(&PathOwner::Wheel(wheel))
            };
            if !stays && dropped.insert(to) {
                changes.push(Change::Dropped { path: to.clone() });
            }
        }
        changes.sort();
    }
    Ok(plan)
}

/// The paths of each wheel, and where they lead.
type ResolvedPaths<'a> = Vec<Vec<(&'a WheelPath, TreePath)>>;

/// Follows the links that conda packages have above the paths of wheels. Wheels have none.
fn resolve<'a>(
    packages: &[PlanInput<'_>],
    plans: &[LinkPlan],
    wheels: &[&'a WheelFacts],
    outside: &Links,
    links_of: &mut dyn FnMut(usize) -> Result<Links, Error>,
) -> Result<ResolvedPaths<'a>, Error> {
    let owners = conda_leaves(packages, plans).collect();
    let mut map = LinkMap { packages, owners, outside, targets: BTreeMap::new(), links_of };
    let mut follow = |wheel: &&'a WheelFacts| {
        let mut resolve = |path: &'a WheelPath| {
            let to = map.follow_all(&wheel.file_name, None, &path.path, path.is_directory)?;
            Ok::<_, Error>((path, to))
        };
        wheel.paths.iter().map(&mut resolve).collect()
    };
    wheels.iter().map(&mut follow).collect()
}

/// Everything of the conda packages that is no directory.
fn conda_leaves<'p>(
    packages: &'p [PlanInput<'_>],
    plans: &'p [LinkPlan],
) -> impl Iterator<Item = (TreePath, Owner)> + 'p {
    packages.iter().zip(plans).enumerate().flat_map(|(package, (input, plan))| {
        let owner = move |link| Owner { rank: 0, package, link };
        let kind = |index: usize| input.facts.paths[index].1;
        let paths = plan.paths.iter().filter(move |planned| kind(planned.index) != PathType::Directory);
        let paths = paths.map(move |planned| {
            let link = (kind(planned.index) == PathType::SoftLink).then_some(planned.index);
            (planned.path.clone(), owner(link))
        });
        paths.chain(plan.entry_points.iter().map(move |planned| (planned.path.clone(), owner(None))))
    })
}

/// Whether there is something else than a directory at the path or above it.
fn is_taken(path: &TreePath, leaves: &HashMap<&str, PathOwner>) -> bool {
    path.ancestors().chain([path.as_str()]).any(|at| leaves.contains_key(at))
}

/// Refuses files below files. Conda packages alone have none.
fn check_nested(
    packages: &[PlanInput<'_>],
    wheels: &[&WheelFacts],
    leaves: &HashMap<&str, PathOwner>,
) -> Result<(), Error> {
    let name = |owner| match owner {
        PathOwner::Conda(index) => packages[index].facts.file_name.as_str(),
        PathOwner::Wheel(index) => wheels[index].file_name.as_str(),
    };
    let nested = leaves.iter().filter_map(|(path, owner)| {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let (above, other) = above.find_map(|above| Some((above, *leaves.get(above)?)))?;
        Some((*path, above, *owner, other))
    });
    // The first in the order of paths, whatever the order of the map.
    match nested.min() {
        Some((path, above, owner, other)) => Err(Error::Nested {
            package: name(owner).into(),
            path: path.to_string(),
            other: name(other).into(),
            above: above.into(),
        }),
        None => Ok(()),
    }
}
