//! Where every path of every package of an environment goes.
//!
//! Three things move a path from where its package has it: the directory of `noarch: python` files, another package's
//! linked directory above it, and a clobber that it loses. Deciding them needs all packages and none of their contents.

mod clobber;
mod item;
mod links;
mod model;
mod wheels;

use std::collections::{BTreeMap, HashMap, HashSet};

use pixi_oci_layer::TreePath;
use rattler_conda_types::Subdir;
use rayon::prelude::*;

use self::{
    clobber::Placed,
    item::{Item, ItemSource, goes_through},
    links::LinkMap,
};
pub use self::{
    model::{Change, LinkPlan, PlanInput, PlannedEntryPoint, PlannedPath},
    wheels::{Overwritten, PathOwner, WheelPlan, wheel_plan},
};
use crate::{
    error::{Error, Refusal},
    facts::{Links, PackageFacts},
    path::normalise,
    python::Python,
};

/// Decides the final path of everything in `packages`. The answer has one plan a package, in their order; what is in a
/// plan does not depend on that order.
///
/// `outside_links` are symbolic links that will be below the prefix but come from no package, relative to it; they give
/// way to a package's file of the same path.
///
/// `links_of` gives the targets of the links of the package with that index, from [`read_links`](crate::read_links). It
/// is called at most once for a package, and only for one with a link that another package has paths below: the lists
/// of paths do not have the targets ([`CompleteFacts`](crate::CompleteFacts) do).
///
/// # Clobbers
/// The package that comes last in `PackageRecord::sort_topologically` keeps a path, the others' go to
/// `__clobbers__/PACKAGE/PATH`: what rattler's installer does, for files against directories too, where its answer does
/// not depend on the order in which packages happened to be downloaded. Entry points take part like files (rattler
/// overwrites them in whatever order it comes to them).
pub fn link_plan(
    packages: &[PlanInput<'_>],
    subdir: Subdir,
    outside_links: &Links,
    links_of: &mut dyn FnMut(usize) -> Result<Links, Error>,
) -> Result<Vec<LinkPlan>, Error> {
    let ranks = clobber::ranks(packages)?;
    let python = environment_python(packages)?;
    let items: Vec<_> = packages.par_iter().map(|package| own_items(package, python.as_ref())).collect();
    // The first error is always the same one.
    let mut items = items.into_iter().collect::<Result<Vec<_>, _>>()?;

    LinkMap::resolve(packages, &ranks, &mut items, outside_links, links_of)?;
    let checks: Vec<_> =
        packages.par_iter().zip(&mut items).map(|(package, items)| one_place_each(package, items)).collect();
    checks.into_iter().collect::<Result<(), _>>()?;
    let placed = clobber::place(packages, &ranks, &items)?;
    let plans = packages.par_iter().zip(items).zip(placed);
    Ok(plans.map(|((package, items), placed)| plan(package, subdir, python.as_ref(), items, placed)).collect())
}

/// Where the paths of a package go if nothing that other packages have meets them: as [`link_plan`] says it for one that has no
/// [`LinkPlan::changes`].
pub fn lone_plan(package: &PlanInput<'_>, subdir: Subdir, python: Option<&Python>) -> Result<LinkPlan, Error> {
    let mut items = own_items(package, python)?;
    one_place_each(package, &mut items)?;
    let placed = items.iter().map(|_| Placed::Stays).collect();
    Ok(plan(package, subdir, python, items, placed))
}

/// The environment's Python, from the locked record of the package of that name.
pub fn environment_python(packages: &[PlanInput<'_>]) -> Result<Option<Python>, Error> {
    let Some(package) = packages.iter().find(|package| package.record.name.as_normalized() == "python") else {
        return Ok(None);
    };
    Python::of(package.record, &package.facts.file_name).map(Some)
}

/// Where the paths of a package are if it is alone.
fn own_items(package: &PlanInput<'_>, python: Option<&Python>) -> Result<Vec<Item>, Error> {
    let facts = package.facts;
    let refuse = |path: &str, refusal| Error::path(&facts.file_name, path, refusal);
    let is_python = facts.is_noarch_python;
    let python = match python {
        Some(python) if is_python => Some(python),
        None if is_python => return Err(Error::NoPython { package: facts.file_name.clone() }),
        _ => None,
    };
    let item = |what, own: TreePath| Item { what, resolved: own.clone(), own };
    let mut items = Vec::with_capacity(facts.paths.len() + facts.entry_points.len());
    for (index, (path, kind)) in facts.paths.iter().enumerate() {
        let path = match python {
            Some(python) => python.place(path).map_err(|refusal| refuse(path.as_str(), refusal))?,
            None => path.clone(),
        };
        items.push(item(ItemSource::Path(index, *kind), path));
    }
    // A command that is given twice is written twice by rattler: the last one is what is left.
    let mut commands = BTreeMap::new();
    for (index, entry_point) in facts.entry_points.iter().enumerate() {
        let path = format!("bin/{}", entry_point.command);
        let path = normalise(&path).map_err(|refusal| refuse(&path, refusal))?;
        commands.insert(path, index);
    }
    // As in rattler, an entry point overwrites a file of its own package.
    items.retain(|item| item.what.is_directory() || !commands.contains_key(&item.own));
    items.extend(commands.into_iter().map(|(path, index)| item(ItemSource::EntryPoint(index), path)));
    Ok(items)
}

/// Refuses two paths of one package that end at the same place, or one below another that is no directory. Directories
/// that end at the same place are one.
fn one_place_each(package: &PlanInput<'_>, items: &mut Vec<Item>) -> Result<(), Error> {
    let PackageFacts { file_name: package, is_noarch_python, entry_points, .. } = package.facts;
    let is_moved = |item: &Item| item.own != item.resolved;
    if !is_noarch_python && entry_points.is_empty() && !items.iter().any(is_moved) {
        // They are where the package has them, which was checked when its facts were read.
        return Ok(());
    }
    let mut leaves: HashMap<&str, &TreePath> = HashMap::with_capacity(items.len());
    for item in items.iter().filter(|item| !item.what.is_directory()) {
        if let Some(other) = leaves.insert(item.resolved.as_str(), &item.own) {
            let refusal = Refusal::SamePlace(other.as_str().into());
            return Err(Error::path(package, item.own.as_str(), refusal));
        }
    }
    if goes_through(items, |item| &item.resolved, |path| leaves.contains_key(path)) {
        for item in items.iter() {
            let at = item.what.is_directory().then_some(item.resolved.as_str());
            if let Some(other) = item.resolved.ancestors().chain(at).find_map(|path| leaves.get(path)) {
                return Err(Error::path(package, item.own.as_str(), Refusal::Below(other.as_str().into())));
            }
        }
    }
    let mut directories = HashSet::new();
    let mut doubles = HashSet::new();
    for item in items.iter() {
        if item.what.is_directory() && !directories.insert(&item.resolved) {
            doubles.insert(item.own.clone());
        }
    }
    items.retain(|item| !doubles.contains(&item.own));
    Ok(())
}

fn plan(
    package: &PlanInput<'_>,
    subdir: Subdir,
    python: Option<&Python>,
    items: Vec<Item>,
    placed: Vec<Placed>,
) -> LinkPlan {
    let mut plan = LinkPlan {
        subdir,
        paths: Vec::with_capacity(items.len()),
        entry_points: Vec::new(),
        python: python.filter(|_| package.facts.is_noarch_python).cloned(),
        changes: Vec::new(),
    };
    for (item, placed) in items.into_iter().zip(placed) {
        if item.own != item.resolved {
            plan.changes.push(Change::Resolved { path: item.own, to: item.resolved.clone() });
        }
        let (path, clobbered) = match placed {
            Placed::Stays => (item.resolved, None),
            Placed::Loses(to) => {
                plan.changes.push(Change::Clobbered { path: item.resolved.clone(), to: to.clone() });
                (to, Some(item.resolved))
            }
            Placed::Dropped => {
                plan.changes.push(Change::Dropped { path: item.resolved });
                continue;
            }
        };
        match item.what {
            ItemSource::Path(index, _) => plan.paths.push(PlannedPath { index, path, clobbered }),
            ItemSource::EntryPoint(index) => {
                let entry_point = package.facts.entry_points[index].clone();
                plan.entry_points.push(PlannedEntryPoint { entry_point, path, clobbered });
            }
        }
    }
    plan.changes.sort();
    plan
}
