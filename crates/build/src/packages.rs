//! From locked packages and their archives to packages that can be written: metadata read, paths decided.

use std::collections::{BTreeMap, BTreeSet};

use pixi_oci_layer::TreePath;
use pixi_oci_package::{
    Change, CondaMeta, PackageFacts, PackageInfo, PathOwner, PlanInput, Python, WheelInfo, WheelPath, WheelPlanInput,
    environment_python, link_plan, read_info, read_links, wheel_plan,
};
use pixi_oci_resolve::{CachedArchive, LockedPackage, canonical_channel, canonical_url};
use rattler_conda_types::{RepoDataRecord, package::PathType};
use rayon::prelude::*;

use crate::{
    Error, SizedPackage, WheelSource,
    layers::{PackageContent, ReadyPackage},
    target::Target,
    wheels::{TargetWheel, overwritten_warnings, read_wheels},
};

/// What a target is made of, all of it on this machine.
pub struct Contents<'a> {
    /// The conda packages, in the lock file's order.
    pub conda: Vec<(&'a RepoDataRecord, &'a CachedArchive)>,
    /// The wheels, in the order in which they are installed.
    pub wheels: Vec<TargetWheel>,
}

/// The conda packages of a target with their archives. `archives` has one for each conda package and wheel.
pub fn conda_archives<'a>(
    packages: &'a [LockedPackage],
    archives: &'a [CachedArchive],
) -> Vec<(&'a RepoDataRecord, &'a CachedArchive)> {
    let conda = |(package, archive): (&'a LockedPackage, &'a CachedArchive)| match package {
        LockedPackage::Conda(record) => Some((&**record, archive)),
        _ => None,
    };
    with_archives(packages).zip(archives).filter_map(conda).collect()
}

/// The packages that have an archive.
pub fn with_archives(packages: &[LockedPackage]) -> impl Iterator<Item = &LockedPackage> {
    packages.iter().filter(|package| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_)))
}

/// What the archives say about themselves.
pub struct Infos {
    conda: Vec<PackageInfo>,
    facts: Vec<PackageFacts>,
    wheels: Vec<WheelInfo>,
    python: Option<Python>,
}

/// Reads what the archives say about themselves. `glibc` is the C library that the target has, if that is known.
pub fn read_infos(target: &Target, contents: &Contents<'_>, glibc: Option<(u32, u32)>) -> Result<Infos, Error> {
    let read = |(record, archive): &(&RepoDataRecord, &CachedArchive)| read_info(&archive.path, &record.package_record);
    let infos: Vec<Result<PackageInfo, pixi_oci_package::Error>> = contents.conda.par_iter().map(read).collect();
    let conda: Vec<PackageInfo> = infos.into_iter().collect::<Result<_, _>>()?;
    let facts: Vec<PackageFacts> = conda.iter().map(PackageInfo::facts).collect();
    let python = environment_python(&plan_inputs(contents, &facts))?;
    let wheels = read_wheels(target, &contents.wheels, python.as_ref(), glibc)?;
    Ok(Infos { conda, facts, wheels, python })
}

fn plan_inputs<'a>(contents: &Contents<'a>, facts: &'a [PackageFacts]) -> Vec<PlanInput<'a>> {
    let records = contents.conda.iter().map(|(record, _)| *record);
    records.zip(facts).map(|(record, facts)| PlanInput { record: &record.package_record, facts }).collect()
}

/// Packages that can be written, those of the application layer last.
pub struct Ready<'a> {
    /// All of them.
    pub packages: Vec<ReadyPackage<'a>>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Decides where every path goes and makes packages that can be written.
pub fn ready_packages<'a>(target: &Target, contents: &'a Contents<'a>, infos: &'a Infos) -> Result<Ready<'a>, Error> {
    let inputs = plan_inputs(contents, &infos.facts);
    let mut links_of = |index: usize| read_links(&contents.conda[index].1.path, &infos.conda[index]);
    let outside = BTreeMap::new();
    let mut plans = link_plan(&inputs, target.platform.subdir, &outside, &mut links_of)?;

    let paths = match &infos.python {
        Some(python) => wheel_paths(contents, infos, python)?,
        None => Vec::new(),
    };
    let wheel_inputs: Vec<WheelPlanInput<'_>> = infos
        .wheels
        .iter()
        .zip(&paths)
        .map(|(info, paths)| WheelPlanInput { file_name: &info.file_name, paths })
        .collect();
    let placed = wheel_plan(&inputs, &mut plans, &wheel_inputs, &outside, &mut links_of)?;
    let name = |owner| match owner {
        PathOwner::Conda(index) => contents.conda[index].0.package_record.name.as_normalized().to_owned(),
        PathOwner::Wheel(index) => contents.wheels[index].package_name(),
    };
    let lost = placed.overwritten.iter();
    let warnings =
        overwritten_warnings(lost.map(|lost| (name(lost.of), name(PathOwner::Wheel(lost.by)), lost.path.to_string())));

    let mut packages = Vec::with_capacity(contents.conda.len() + contents.wheels.len());
    for ((record, archive), (info, plan)) in contents.conda.iter().zip(infos.conda.iter().zip(plans)) {
        let kind = |index: usize| info.paths[index].entry.path_type;
        let listed =
            plan.paths.iter().map(|planned| (planned.path.clone(), kind(planned.index) == PathType::Directory));
        packages.push(ReadyPackage {
            label: label(record),
            archive: &archive.path,
            size: archive.size,
            paths: listed.collect(),
            name: record.package_record.name.as_normalized().to_string(),
            is_own: false,
            content: PackageContent::Conda { info, plan, meta: Box::new(meta(record, archive)?) },
        });
    }
    let Some(python) = &infos.python else { return Ok(Ready { packages, warnings }) };
    let wheels = contents.wheels.iter().zip(&infos.wheels).zip(paths.into_iter().zip(placed.changes));
    for ((wheel, info), (paths, changes)) in wheels {
        packages.push(ReadyPackage {
            name: wheel.package_name(),
            label: format!("{} {}", wheel.package_name(), wheel.version),
            archive: &wheel.path,
            size: wheel.size,
            paths: changed(paths, &changes),
            is_own: wheel.source == WheelSource::Own,
            content: PackageContent::Wheel { info, python, direct_url: wheel.direct_url.as_ref(), changes },
        });
    }
    Ok(Ready { packages, warnings })
}

fn wheel_paths(contents: &Contents<'_>, infos: &Infos, python: &Python) -> Result<Vec<Vec<WheelPath>>, Error> {
    let wheels = contents.wheels.iter().zip(&infos.wheels);
    Ok(wheels.map(|(wheel, info)| info.paths(python, wheel.direct_url.as_ref())).collect::<Result<_, _>>()?)
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

/// `NAME VERSION BUILD`
pub fn label(record: &RepoDataRecord) -> String {
    let package = &record.package_record;
    format!("{} {} {}", package.name.as_normalized(), package.version, package.build)
}

fn meta(record: &RepoDataRecord, archive: &CachedArchive) -> Result<CondaMeta, Error> {
    let url = canonical_url(&record.url);
    Ok(CondaMeta {
        url: url.parse().map_err(|_| Error::Url { package: label(record), url })?,
        channel: record.channel.as_deref().map(canonical_channel),
        sha256: (*archive.sha256.as_bytes()).into(),
        size: archive.size,
    })
}

/// What the grouping needs to know: of all packages that are not in the application layer, which are the first.
pub fn sized(packages: &[ReadyPackage<'_>]) -> Vec<SizedPackage> {
    let in_layers = packages.iter().filter(|package| !package.is_own);
    in_layers.map(|package| SizedPackage { name: package.name.clone(), size: package.size }).collect()
}

/// Whether some package has a file at `path` below the prefix.
pub fn has_path(packages: &[ReadyPackage<'_>], path: &str) -> bool {
    packages.iter().any(|package| package.paths.iter().any(|(own, _)| own.as_str() == path))
}

/// The packages' activation scripts below the prefix, in the order in which conda runs them: by file name.
pub fn activation_scripts(packages: &[ReadyPackage<'_>]) -> Vec<String> {
    let mut scripts: Vec<String> = packages
        .iter()
        .flat_map(|package| &package.paths)
        .map(|(path, _)| path.as_str())
        .filter(|path| {
            // rattler_shell takes these endings for bash.
            let name = path.strip_prefix("etc/conda/activate.d/").unwrap_or_default();
            !name.contains('/') && (name.ends_with(".sh") || name.ends_with(".bash"))
        })
        .map(str::to_string)
        .collect();
    scripts.sort();
    scripts
}

/// Labels of the packages with a script that conda would run after linking.
pub fn with_post_link(packages: &[ReadyPackage<'_>]) -> Vec<String> {
    let is_post_link = |path: &TreePath| path.as_str().ends_with("-post-link.sh");
    let has_script = |package: &&ReadyPackage<'_>| match &package.content {
        PackageContent::Conda { info, .. } => info.link_scripts.iter().any(is_post_link),
        PackageContent::Wheel { .. } => false,
    };
    packages.iter().filter(has_script).map(|package| package.label.clone()).collect()
}
