//! From locked packages and their archives to packages that can be written: metadata read, paths decided.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_layer::TreePath;
use pixi_oci_lock::{LockedPackage, Sha256};
use pixi_oci_net::{canonical_channel, canonical_url};
use pixi_oci_package::{
    Change, CompleteFacts, CondaMeta, Links, PackageFacts, PathOwner, PlanInput, Python, WheelFacts, WheelPath,
    WheelPlanInput, environment_python, link_plan, read_info, read_links, wheel_plan,
};
use pixi_oci_wheel::DirectUrl;
use rattler_conda_types::{RepoDataRecord, package::PathType};
use rayon::prelude::*;

use crate::{
    Error, SizedPackage, WheelSource,
    cache::{FactsCache, Known, wheel_key},
    layers::{PackageContent, PackageFactsOf, PackageLayer, ReadyPackage},
    previous::Previous,
    source_wheel::SourceWheel,
    table::{LayerTable, TableLayer},
    target::Target,
    wheels::{TargetWheel, WheelFile, direct_url, in_order, overwritten_warnings, wheel_facts},
};

/// What a target is made of.
pub struct Contents<'a> {
    /// The conda packages, in the lock file's order.
    conda: Vec<CondaPackage<'a>>,
    /// The wheels, in the order in which they are installed.
    pub wheels: Vec<TargetWheel>,
}

/// A conda package of a target.
struct CondaPackage<'a> {
    record: &'a RepoDataRecord,
    file: CondaFile,
    sha256: Sha256,
    size: u64,
}

/// A conda package's archive.
enum CondaFile {
    /// It is on this machine.
    Here(PathBuf),
    /// What is known of it may be enough.
    Known(CompleteFacts),
}

/// What is known of a package that need not be on this machine.
pub enum KnownPackage {
    /// A conda package.
    Conda(Known<CompleteFacts>),
    /// A wheel.
    Wheel(Known<WheelFacts>),
}

/// Looks up what is known: of a conda package by its sha256, of a wheel with the interpreter and its `direct_url.json`.
pub trait KnownPackages: Sync {
    /// A conda package.
    fn conda(&self, archive: &Sha256) -> Option<Known<CompleteFacts>>;
    /// A wheel.
    fn wheel(&self, archive: &Sha256, python: &Python, direct_url: Option<&DirectUrl>) -> Option<Known<WheelFacts>>;
}

impl KnownPackages for FactsCache {
    fn conda(&self, archive: &Sha256) -> Option<Known<CompleteFacts>> {
        self.conda(archive)
    }

    fn wheel(&self, archive: &Sha256, python: &Python, direct_url: Option<&DirectUrl>) -> Option<Known<WheelFacts>> {
        self.wheel(archive, python, direct_url)
    }
}

impl KnownPackages for Previous {
    fn conda(&self, archive: &Sha256) -> Option<Known<CompleteFacts>> {
        self.conda.get(&archive.to_string()).cloned()
    }

    fn wheel(&self, archive: &Sha256, python: &Python, direct_url: Option<&DirectUrl>) -> Option<Known<WheelFacts>> {
        self.wheels.get(&wheel_key(archive, python, direct_url)).cloned()
    }
}

/// What is known of each package of the target that has an archive.
pub fn known_packages(
    target: &Target,
    cache: &dyn KnownPackages,
    workdir: &str,
) -> Result<Vec<Option<KnownPackage>>, Error> {
    let python = target.python()?;
    let known = |package: &LockedPackage| {
        let sha256 = package.sha256()?;
        let (known, size) = match (package, &python) {
            (LockedPackage::Wheel(wheel), Some(python)) => {
                let known = cache.wheel(&sha256, python, direct_url(wheel, workdir).as_ref())?;
                if !known.facts.is_of(&wheel.file_name) {
                    return None;
                }
                let size = known.size;
                (KnownPackage::Wheel(known), size)
            }
            (LockedPackage::Conda(record), _) => {
                let known = cache.conda(&sha256)?;
                if !known.facts.facts.is_of(&record.package_record) {
                    return None;
                }
                let size = known.size;
                (KnownPackage::Conda(known), size)
            }
            _ => return None,
        };
        // A lock file with another length is not to be trusted in the rest, either: let the archive decide.
        package.size().is_none_or(|locked| locked == size).then_some(known)
    };
    let packages: Vec<&LockedPackage> = with_archives(&target.packages).collect();
    Ok(packages.into_par_iter().map(known).collect())
}

/// Keeps what is known of packages of the target.
pub fn keep(target: &Target, known: &[Option<KnownPackage>], cache: &FactsCache, workdir: &str) -> Result<(), Error> {
    let python = target.python()?;
    for (package, known) in with_archives(&target.packages).zip(known) {
        match (package, package.sha256(), known, &python) {
            (LockedPackage::Conda(_), Some(sha256), Some(KnownPackage::Conda(known)), _) => {
                cache.put_conda(&sha256, known);
            }
            (LockedPackage::Wheel(wheel), Some(sha256), Some(KnownPackage::Wheel(known)), Some(python)) => {
                cache.put_wheel(&sha256, python, direct_url(wheel, workdir).as_ref(), known);
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Contents<'a> {
    /// Puts together what is known and what was fetched: `archives` has one for each package that is not known.
    /// `sources` has a wheel for each source.
    pub fn new(
        target: &'a Target,
        known: Vec<Option<KnownPackage>>,
        archives: &mut impl Iterator<Item = CachedArchive>,
        sources: &BTreeMap<String, SourceWheel>,
        workdir: &str,
    ) -> Self {
        let mut contents = Self { conda: Vec::new(), wheels: Vec::new() };
        for (package, known) in with_archives(&target.packages).zip(known) {
            match (package, known) {
                (LockedPackage::Conda(record), Some(KnownPackage::Conda(known))) => {
                    let Some(sha256) = package.sha256() else { continue };
                    let (file, size) = (CondaFile::Known(known.facts), known.size);
                    contents.conda.push(CondaPackage { record, file, sha256, size });
                }
                (LockedPackage::Wheel(wheel), Some(KnownPackage::Wheel(known))) => {
                    contents.wheels.extend(TargetWheel::known(wheel, known, workdir));
                }
                (LockedPackage::Conda(record), _) => contents.conda.extend(archives.next().map(|archive| {
                    let CachedArchive { path, sha256, size } = archive;
                    CondaPackage { record, file: CondaFile::Here(path), sha256, size }
                })),
                (LockedPackage::Wheel(wheel), _) => {
                    contents
                        .wheels
                        .extend(archives.next().map(|archive| TargetWheel::locked(wheel, &archive, workdir)));
                }
                _ => {}
            }
        }
        contents.wheels = in_order(contents.wheels, sources, workdir);
        contents
    }
}

/// The packages that have an archive.
pub fn with_archives(packages: &[LockedPackage]) -> impl Iterator<Item = &LockedPackage> {
    packages.iter().filter(|package| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_)))
}

/// Which paths the packages of a target have.
pub struct Facts {
    conda: Vec<PackageFacts>,
    wheels: Vec<WheelFacts>,
    python: Option<Python>,
}

/// Finds out which paths the packages have, from what is known or from the archives. `glibc` is the C library that the
/// target has, if that is known.
pub fn facts(
    target: &Target,
    contents: &Contents<'_>,
    glibc: Option<(u32, u32)>,
    cache: &FactsCache,
) -> Result<Facts, Error> {
    let read = |package: &CondaPackage<'_>| match &package.file {
        CondaFile::Known(complete) => Ok(complete.facts.clone()),
        CondaFile::Here(path) => read_info(path, &package.record.package_record).map(|info| info.facts()),
    };
    let conda: Vec<Result<PackageFacts, pixi_oci_package::Error>> = contents.conda.par_iter().map(read).collect();
    let conda: Vec<PackageFacts> = conda.into_iter().collect::<Result<_, _>>()?;
    let python = environment_python(&plan_inputs(contents, &conda))?;
    let wheels = wheel_facts(target, &contents.wheels, python.as_ref(), glibc, cache)?;
    Ok(Facts { conda, wheels, python })
}

fn plan_inputs<'a>(contents: &Contents<'a>, facts: &'a [PackageFacts]) -> Vec<PlanInput<'a>> {
    let records = contents.conda.iter().map(|package| package.record);
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
pub fn ready_packages<'a>(target: &Target, contents: &'a Contents<'a>, facts: &Facts) -> Result<Ready<'a>, Error> {
    let inputs = plan_inputs(contents, &facts.conda);
    let mut links_of = |index: usize| -> Result<Links, pixi_oci_package::Error> {
        let package = &contents.conda[index];
        match &package.file {
            CondaFile::Known(complete) => Ok(complete.links.clone()),
            CondaFile::Here(path) => read_links(path, &read_info(path, &package.record.package_record)?),
        }
    };
    let outside = BTreeMap::new();
    let mut plans = link_plan(&inputs, target.platform.subdir, &outside, &mut links_of)?;

    let wheel_inputs: Vec<WheelPlanInput<'_>> =
        facts.wheels.iter().map(|facts| WheelPlanInput { file_name: &facts.file_name, paths: &facts.paths }).collect();
    let placed = wheel_plan(&inputs, &mut plans, &wheel_inputs, &outside, &mut links_of)?;
    let name = |owner| match owner {
        PathOwner::Conda(index) => contents.conda[index].record.package_record.name.as_normalized().to_owned(),
        PathOwner::Wheel(index) => contents.wheels[index].package_name(),
    };
    let lost = placed.overwritten.iter();
    let warnings =
        overwritten_warnings(lost.map(|lost| (name(lost.of), name(PathOwner::Wheel(lost.by)), lost.path.to_string())));

    let mut packages = Vec::with_capacity(contents.conda.len() + contents.wheels.len());
    for (package, (facts, plan)) in contents.conda.iter().zip(facts.conda.iter().zip(plans)) {
        let CondaPackage { record, file, sha256, size } = package;
        let kind = |index: usize| facts.paths[index].1;
        let listed =
            plan.paths.iter().map(|planned| (planned.path.clone(), kind(planned.index) == PathType::Directory));
        packages.push(ReadyPackage {
            label: label(record),
            archive: match file {
                CondaFile::Here(path) => Some(path.clone()),
                CondaFile::Known(_) => None,
            },
            sha256: *sha256,
            size: *size,
            paths: listed.collect(),
            name: record.package_record.name.as_normalized().to_string(),
            is_own: false,
            has_post_link: facts.link_scripts.iter().any(|path| path.as_str().ends_with("-post-link.sh")),
            content: PackageContent::Conda { record, plan, meta: Box::new(meta(package)?) },
            facts: PackageFactsOf::Conda(match file {
                CondaFile::Known(facts) => Some(Known { size: *size, facts: facts.clone() }),
                CondaFile::Here(_) => None,
            }),
        });
    }
    let Some(python) = &facts.python else { return Ok(Ready { packages, warnings }) };
    for (wheel, (facts, changes)) in contents.wheels.iter().zip(facts.wheels.iter().zip(placed.changes)) {
        packages.push(ReadyPackage {
            name: wheel.package_name(),
            label: format!("{} {}", wheel.package_name(), wheel.version),
            archive: match &wheel.file {
                WheelFile::Here(path) => Some(path.clone()),
                WheelFile::Known(_) => None,
            },
            sha256: wheel.sha256,
            size: wheel.size,
            paths: changed(facts.paths.clone(), &changes),
            is_own: wheel.source == WheelSource::Own,
            has_post_link: false,
            content: PackageContent::Wheel {
                expected: wheel.expected(),
                python: python.clone(),
                direct_url: wheel.direct_url.as_ref(),
                changes,
            },
            facts: PackageFactsOf::Wheel(Known { size: wheel.size, facts: facts.clone() }),
        });
    }
    Ok(Ready { packages, warnings })
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

fn meta(package: &CondaPackage<'_>) -> Result<CondaMeta, Error> {
    let record = package.record;
    let url = canonical_url(&record.url);
    Ok(CondaMeta {
        url: url.parse().map_err(|_| Error::Url { package: label(record), url })?,
        channel: record.channel.as_deref().map(canonical_channel),
        sha256: (*package.sha256.as_bytes()).into(),
        size: package.size,
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
    packages.iter().filter(|package| package.has_post_link).map(|package| package.label.clone()).collect()
}

/// What the image says of its package layers. Conda packages of which not everything is known are read for it.
pub fn layer_table(layers: &[PackageLayer], packages: &mut [ReadyPackage<'_>]) -> Result<LayerTable, Error> {
    for (index, facts) in layers.iter().flat_map(|layer| &layer.facts) {
        packages[*index].facts = PackageFactsOf::Conda(Some(facts.clone()));
    }
    let (mut conda, mut wheels) = (BTreeMap::new(), BTreeMap::new());
    for package in packages.iter().filter(|package| !package.is_own) {
        match (&package.facts, &package.content) {
            (PackageFactsOf::Conda(Some(facts)), _) => {
                conda.insert(package.sha256.to_string(), facts.clone());
            }
            (PackageFactsOf::Conda(None), PackageContent::Conda { record, .. }) => {
                let Some(archive) = &package.archive else { continue };
                let info = read_info(archive, &record.package_record)?;
                let facts = CompleteFacts { facts: info.facts(), links: read_links(archive, &info)? };
                conda.insert(package.sha256.to_string(), Known { size: package.size, facts });
            }
            (PackageFactsOf::Wheel(facts), PackageContent::Wheel { python, direct_url, .. }) => {
                wheels.insert(wheel_key(&package.sha256, python, *direct_url), facts.clone());
            }
            _ => {}
        }
    }
    let layers = layers.iter().map(|layer| TableLayer::new(layer.layer.tar_size, &layer.seen));
    Ok(LayerTable::new(layers.collect(), conda, wheels))
}
