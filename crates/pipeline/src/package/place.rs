//! Which paths packages have, and where these go in one environment.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_layer::TreePath;
use pixi_oci_package::{
    Change, Links, PathOwner, PlanInput, Python, WheelFacts, WheelPath, environment_python, link_plan, lone_plan,
    read_info, wheel_plan,
};
use pixi_oci_wheel::{check_tags, read_wheel};
use rattler_conda_types::package::PathType;
use rayon::prelude::*;

use crate::{
    Error, package::Facts, package::Link, package::Package, package::PackageKind, package::Placement,
    report::WheelSource, stock::cache::FactsCache, stock::cache::KnownArchive, stock::cache::wheel_key,
};
use pixi_oci_project::Target;

/// Decides where every path of the packages goes, and gives warnings. `glibc` is the C library that the target has, if that
/// is known.
pub fn place(
    target: &Target,
    packages: &mut [Package<'_>],
    glibc: Option<(u32, u32)>,
    cache: &FactsCache,
) -> Result<Vec<String>, Error> {
    read_conda_facts(packages)?;
    let count = packages.iter().filter(|package| matches!(package.kind, PackageKind::Conda(_))).count();
    let python = environment_python(&plan_inputs(packages))?;
    read_wheel_facts(target, &mut packages[count..], python.as_ref(), glibc, cache)?;

    let outside = Links::new();
    let (plans, placed, warnings) = {
        let packages = &*packages;
        let inputs = plan_inputs(packages);
        let mut links_of = |index: usize| packages[index].links();
        let mut plans = link_plan(&inputs, target.platform.subdir, &outside, &mut links_of)?;
        let wheels: Vec<&WheelFacts> = packages[count..].iter().filter_map(wheel_facts).collect();
        let placed = wheel_plan(&inputs, &mut plans, &wheels, &outside, &mut links_of)?;
        let name = |owner| match owner {
            PathOwner::Conda(index) => packages[index].name.clone(),
            PathOwner::Wheel(index) => packages[count + index].name.clone(),
        };
        let lost = placed.overwritten.iter();
        let lost = lost.map(|lost| (name(lost.of), name(PathOwner::Wheel(lost.by)), lost.path.to_string()));
        let warnings = overwritten_warnings(lost);
        (plans, placed, warnings)
    };
    let (conda, wheels) = packages.split_at_mut(count);
    for (package, plan) in conda.iter_mut().zip(plans) {
        let Some(Facts::Conda { facts, .. }) = &package.facts else { continue };
        let is_directory = |index: usize| facts.paths[index].1 == PathType::Directory;
        let paths = plan.paths.iter().map(|planned| (planned.path.clone(), is_directory(planned.index))).collect();
        package.placement = Some(Placement { paths, link: Link::Conda(plan) });
    }
    for (package, changes) in wheels.iter_mut().zip(placed.changes) {
        let (Some(python), Some(facts)) = (&python, wheel_facts(package)) else { continue };
        let paths = changed(facts.paths.clone(), &changes);
        package.placement = Some(Placement { paths, link: Link::Wheel { python: python.clone(), changes } });
    }
    Ok(warnings)
}

fn plan_inputs<'a>(packages: &'a [Package<'_>]) -> Vec<PlanInput<'a>> {
    let input = |package: &'a Package<'_>| match (&package.kind, &package.facts) {
        (PackageKind::Conda(record), Some(Facts::Conda { facts, .. })) => {
            Some(PlanInput { record: &record.package_record, facts })
        }
        _ => None,
    };
    packages.iter().filter_map(input).collect()
}

fn wheel_facts<'a>(package: &'a Package<'_>) -> Option<&'a WheelFacts> {
    match &package.facts {
        Some(Facts::Wheel(facts)) => Some(facts),
        _ => None,
    }
}

fn read_conda_facts(packages: &mut [Package<'_>]) -> Result<(), Error> {
    // All are read before the first error is reported, so that it is always the same one.
    let results: Vec<Result<(), Error>> = packages.par_iter_mut().map(Package::read_conda_facts).collect();
    results.into_iter().collect()
}

impl Package<'_> {
    fn read_conda_facts(&mut self) -> Result<(), Error> {
        let (PackageKind::Conda(record), None) = (&self.kind, &self.facts) else { return Ok(()) };
        let facts = read_info(self.file()?.1, &record.package_record)?.facts();
        self.facts = Some(Facts::Conda { facts, links: Default::default() });
        Ok(())
    }
}

/// Reads the paths of conda packages that are here. One that cannot be read has none yet: [`place`] says why.
pub fn read_arrived(packages: &mut [Package<'_>]) {
    let here = packages.par_iter_mut().filter(|package| package.facts.is_none() && package.file().is_ok());
    here.for_each(|package| drop(package.read_conda_facts()));
}

/// A conda package in its place, as if nothing that other packages have met its paths; `None` if its paths are not known.
pub fn place_alone<'a>(package: &Package<'a>, target: &Target, python: Option<&Python>) -> Option<Package<'a>> {
    let (PackageKind::Conda(record), Some(Facts::Conda { facts, .. })) = (&package.kind, &package.facts) else {
        return None;
    };
    let input = PlanInput { record: &record.package_record, facts };
    let plan = lone_plan(&input, target.platform.subdir, python).ok()?;
    let is_directory = |index: usize| facts.paths[index].1 == PathType::Directory;
    let paths = plan.paths.iter().map(|planned| (planned.path.clone(), is_directory(planned.index)));
    let paths = paths.chain(plan.entry_points.iter().map(|planned| (planned.path.clone(), false))).collect();
    Some(Package { placement: Some(Placement { paths, link: Link::Conda(plan) }), ..package.clone() })
}

/// Reads the paths of wheels, after a check that they are for the target. Where its C library is not known, the lock file
/// was made for what the target has.
fn read_wheel_facts(
    target: &Target,
    wheels: &mut [Package<'_>],
    python: Option<&Python>,
    glibc: Option<(u32, u32)>,
    cache: &FactsCache,
) -> Result<(), Error> {
    if wheels.is_empty() {
        return Ok(());
    }
    let file_name = |package: &Package<'_>| match &package.kind {
        PackageKind::Wheel(wheel) => wheel.file_name.clone(),
        PackageKind::Conda(_) => String::new(),
    };
    let Some(python) = python else {
        let names = wheels.iter().map(file_name).collect::<Vec<_>>().join(", ");
        return Err(Error::NoPython { platform: target.platform.name.clone(), wheels: names });
    };
    let glibc = glibc.map_or((u64::MAX, 0), |(major, minor)| (major.into(), minor.into()));
    for wheel in wheels.iter() {
        check_tags(&file_name(wheel), python, target.platform.subdir, glibc)?;
    }
    let read = |package: &mut Package<'_>| {
        let (PackageKind::Wheel(wheel), None) = (&package.kind, &package.facts) else { return Ok(()) };
        let (archive, path) = package.file()?;
        let direct_url = wheel.direct_url.as_ref();
        let info = read_wheel(path, &wheel.expected())?;
        let facts = WheelFacts { paths: info.paths(python, direct_url)?, file_name: info.file_name };
        if wheel.source == WheelSource::Lock {
            let known = KnownArchive { size: archive.size, facts: &facts };
            cache.put(&wheel_key(&archive.sha256, python, direct_url), &known);
        }
        package.facts = Some(Facts::Wheel(facts));
        Ok(())
    };
    let results: Vec<Result<(), Error>> = wheels.par_iter_mut().map(read).collect();
    results.into_iter().collect()
}

/// Where the paths of a wheel are in the end.
fn changed(paths: Vec<WheelPath>, changes: &[Change]) -> Vec<(TreePath, bool)> {
    let mut resolved = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for change in changes {
        match change {
            Change::Resolved { path, to } => drop(resolved.insert(path, to)),
            Change::Dropped { path } => drop(dropped.insert(path)),
            // Only conda packages put the losers elsewhere.
            Change::Clobbered { .. } => {}
        }
    }
    let place = |path: WheelPath| {
        let to = resolved.get(&path.path).map_or(&path.path, |to| *to).clone();
        (!dropped.contains(&to)).then_some((to, path.is_directory))
    };
    paths.into_iter().filter_map(place).collect()
}

/// What is reported of files that several packages have. `lost` names the loser, the winner and the path.
fn overwritten_warnings(lost: impl IntoIterator<Item = (String, String, String)>) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut pairs: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (loser, winner, path) in lost {
        pairs.entry((winner, loser)).or_default().push(path);
    }
    let text = |((winner, loser), paths): ((String, String), Vec<String>)| {
        let more = paths.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let shown = paths[..paths.len().min(SHOWN)].join(", ");
        format!("{winner} overwrites files of {loser}: {shown}{more}")
    };
    pairs.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_overwritten_files_are_named() {
        let lost = |n: usize| ("pypi:a".to_owned(), "pypi:b".to_owned(), format!("bin/{n}"));
        assert_eq!(overwritten_warnings((0..2).map(lost)), ["pypi:b overwrites files of pypi:a: bin/0, bin/1"]);
        assert!(overwritten_warnings((0..7).map(lost))[0].ends_with("bin/4 and 2 more"));
    }
}
