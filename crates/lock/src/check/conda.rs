//! The conda packages of a lock file against what is wanted: every requirement, and every dependency of every package.

use pixi_oci_workspace::{Requirement, VirtualPackage, normalized};
use std::collections::{HashMap, HashSet};

use rattler_conda_types::{
    GenericVirtualPackage, MatchSpec, MatchSpecCondition, Matches, ParseMatchSpecOptions, RepodataRevision,
};
use rattler_lock::CondaPackageData;

use super::{
    conda_match::{describe, described, other_source, unlike, version_and_build},
    difference::{not_required, required},
    packages::Packages,
};
use crate::{LockFile, Wanted};
use pixi_oci_net::redact;

struct LockedRecords<'l> {
    packages: Vec<&'l CondaPackageData>,
    by_name: HashMap<&'l str, usize>,
    virtual_packages: Vec<GenericVirtualPackage>,
    lock: &'l LockFile,
}

struct Asked {
    spec: MatchSpec,
    /// Who asks: `feature x`, `package y`.
    by: String,
}

/// How a locked package, or else the target, answers a requirement.
enum Answer {
    Fulfilled(Option<usize>),
    /// It has the name, but is not what is required.
    Wrong(Option<usize>, String),
    Missing,
}

/// The names of the Python packages that a conda package brings, for [`super::pypi`].
pub(super) struct Provided {
    /// The PEP 503 name.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) package: usize,
}

/// Compares. `for_python` are the conda packages that Python packages require; returned are the names of those that
/// nothing else requires.
pub(super) fn compare(
    wanted: &Wanted,
    lock: &LockFile,
    packages: &Packages<'_>,
    for_python: &HashSet<usize>,
    now: jiff::Timestamp,
    report: &mut impl FnMut(String),
) -> Vec<String> {
    let locked = LockedRecords::of(wanted, lock, packages);
    let mut walk = Walk::default();
    for requirement in &wanted.conda {
        walk.require(requirement, &locked, report);
    }
    walk.finish(&locked, report);
    let mut only_for_python: Vec<usize> =
        for_python.iter().copied().filter(|index| !walk.visited.contains(&(*index, None))).collect();
    only_for_python.sort_unstable();
    for &index in &only_for_python {
        walk.visit(index, None, &locked, report);
    }
    walk.finish(&locked, report);
    for constraint in &wanted.constraints {
        let by = format!("feature {}", constraint.feature);
        check_constraint(constraint.match_spec(), &by, &locked, report);
    }
    check_constrains(&locked, report);
    check_age(wanted, &locked, now, report);
    check_unused(wanted, &locked, &walk.visited, report);
    only_for_python.iter().map(|&index| packages.conda[index].name().as_normalized().to_owned()).collect()
}

/// The names of the locked conda packages that conda requirements lead to.
pub(super) fn required_names(wanted: &Wanted, lock: &LockFile, packages: &Packages<'_>) -> HashSet<String> {
    let locked = LockedRecords::of(wanted, lock, packages);
    let mut walk = Walk::default();
    for requirement in &wanted.conda {
        walk.require(requirement, &locked, &mut |_| {});
    }
    walk.finish(&locked, &mut |_| {});
    walk.visited.iter().map(|(index, _)| packages.conda[*index].name().as_normalized().to_owned()).collect()
}

impl<'l> LockedRecords<'l> {
    fn of(wanted: &Wanted, lock: &'l LockFile, packages: &Packages<'l>) -> Self {
        Self {
            packages: packages.conda.clone(),
            by_name: packages.conda.iter().enumerate().map(|(i, p)| (p.name().as_normalized(), i)).collect(),
            virtual_packages: wanted.virtual_packages.iter().filter_map(VirtualPackage::generic).collect(),
            lock,
        }
    }
}

/// From requirements to the packages that fulfil them, to their dependencies, and so on.
#[derive(Default)]
struct Walk {
    asked: Vec<Asked>,
    /// Packages whose dependencies, and extras of packages whose dependencies, were asked for.
    visited: HashSet<(usize, Option<String>)>,
}

impl Walk {
    /// Asks for what the manifest requires.
    fn require(&mut self, requirement: &Requirement, locked: &LockedRecords<'_>, report: &mut impl FnMut(String)) {
        let by = format!("feature {}", requirement.feature);
        let spec = requirement.match_spec();
        if spec.condition.as_ref().is_some_and(|condition| !is_met(condition, locked)) {
            return;
        }
        let found = locked.by_name.get(requirement.name.as_normalized()).copied();
        let Some(source) = &requirement.source else {
            match found.filter(|&index| locked.packages[index].as_source().is_some()) {
                Some(index) => {
                    report(required(shown(&spec), &by, Some("its source instead of an archive".to_owned())));
                    self.visit(index, spec.extras.as_deref(), locked, report);
                }
                None => self.asked.push(Asked { spec, by }),
            }
            return;
        };
        let requirement = format!("{} from {}", requirement.name.as_normalized(), describe(source));
        match found {
            Some(index) => {
                if let Some(has) = other_source(source, locked.packages[index], locked.lock) {
                    report(required(requirement, &by, Some(has)));
                }
                self.visit(index, spec.extras.as_deref(), locked, report);
            }
            None => report(required(requirement, &by, None)),
        }
    }

    /// Asks for the dependencies of a package, once, and for those of each of its extras.
    fn visit(
        &mut self,
        index: usize,
        extras: Option<&[String]>,
        locked: &LockedRecords<'_>,
        report: &mut impl FnMut(String),
    ) {
        let package = locked.packages[index];
        let mut dependencies: Vec<&String> = Vec::new();
        if self.visited.insert((index, None)) {
            dependencies.extend(package.depends());
        }
        for extra in extras.into_iter().flatten() {
            if self.visited.insert((index, Some(extra.clone()))) {
                let of_extra = package.record().and_then(|record| record.extra_depends.get(extra));
                dependencies.extend(of_extra.into_iter().flatten());
            }
        }
        for text in dependencies {
            match parse(text) {
                Ok(spec) if spec.condition.as_ref().is_some_and(|condition| !is_met(condition, locked)) => {}
                Ok(spec) => {
                    let by = format!("package {}", package.name().as_normalized());
                    self.asked.push(Asked { spec, by });
                }
                Err(message) => {
                    let package = described(package);
                    report(format!("{package} has the dependency `{text}`, which cannot be understood: {message}"));
                }
            }
        }
    }

    /// Answers everything that is asked for. A package that is not what is required is gone into all the same, so that
    /// one difference is not followed by all that it would need.
    fn finish(&mut self, locked: &LockedRecords<'_>, report: &mut impl FnMut(String)) {
        while let Some(Asked { spec, by }) = self.asked.pop() {
            let package = match answer(&spec, locked) {
                Answer::Fulfilled(package) => package,
                Answer::Wrong(package, has) => {
                    report(required(shown(&spec), &by, Some(has)));
                    package
                }
                Answer::Missing => {
                    report(required(shown(&spec), &by, None));
                    None
                }
            };
            package.iter().for_each(|&index| self.visit(index, spec.extras.as_deref(), locked, report));
        }
    }
}

/// A match spec as pixi manifests write it: `numpy >=2`.
fn shown(spec: &MatchSpec) -> String {
    let mut spec = spec.clone();
    if let Some(url) = spec.url.take() {
        return format!("{} from {}", spec.name, redact(url.as_str()));
    }
    spec.to_string()
}

fn parse(text: &str) -> Result<MatchSpec, String> {
    let options = ParseMatchSpecOptions::lenient().with_repodata_revision(RepodataRevision::V3);
    MatchSpec::from_str(text, options).map_err(|e| e.to_string())
}

fn answer(spec: &MatchSpec, locked: &LockedRecords<'_>) -> Answer {
    let Some(name) = spec.name.as_exact() else {
        let found = locked.packages.iter().position(|package| unlike(spec, package, locked.lock).is_none());
        return found.map_or(Answer::Missing, |index| Answer::Fulfilled(Some(index)));
    };
    if let Some(&index) = locked.by_name.get(name.as_normalized()) {
        return match unlike(spec, locked.packages[index], locked.lock) {
            None => Answer::Fulfilled(Some(index)),
            Some(has) => Answer::Wrong(Some(index), has),
        };
    }
    match locked.virtual_packages.iter().find(|package| package.name == *name) {
        Some(package) if spec.matches(package) => Answer::Fulfilled(None),
        Some(package) => Answer::Wrong(None, package.version.to_string()),
        None => Answer::Missing,
    }
}

/// Whether a locked package or the target fulfils a condition; the solver decided so too.
fn is_met(condition: &MatchSpecCondition, locked: &LockedRecords<'_>) -> bool {
    match condition {
        MatchSpecCondition::MatchSpec(spec) => {
            locked.packages.iter().any(|package| package.record().is_some_and(|record| spec.matches(record)))
                || locked.virtual_packages.iter().any(|package| spec.matches(package))
        }
        MatchSpecCondition::And(a, b) => is_met(a, locked) && is_met(b, locked),
        MatchSpecCondition::Or(a, b) => is_met(a, locked) || is_met(b, locked),
    }
}

fn check_constraint(spec: MatchSpec, by: &str, locked: &LockedRecords<'_>, report: &mut impl FnMut(String)) {
    let Some(name) = spec.name.as_exact() else { return };
    let Some(&index) = locked.by_name.get(name.as_normalized()) else { return };
    // What is built from source is the manifest's own choice.
    if let Some(binary) = locked.packages[index].as_binary()
        && !spec.matches(&binary.package_record)
    {
        let has = version_and_build(&spec, &binary.package_record);
        report(format!("{by} allows only {}, the lock has {has}", shown(&spec)));
    }
}

fn check_constrains(locked: &LockedRecords<'_>, report: &mut impl FnMut(String)) {
    for package in &locked.packages {
        let Some(record) = package.record() else { continue };
        for text in &record.constrains {
            // What cannot be understood constrained no solver either.
            let Ok(spec) = parse(text) else { continue };
            if spec.condition.as_ref().is_none_or(|condition| is_met(condition, locked)) {
                let by = format!("package {}", package.name().as_normalized());
                check_constraint(spec, &by, locked, report);
            }
        }
    }
}

fn check_age(wanted: &Wanted, locked: &LockedRecords<'_>, now: jiff::Timestamp, report: &mut impl FnMut(String)) {
    if wanted.options.exclude_newer.is_empty() {
        return;
    }
    for package in &locked.packages {
        let Some(binary) = package.as_binary() else { continue };
        let record = &binary.package_record;
        let channel = binary.channel.as_ref().map(ToString::to_string);
        let cutoff = wanted.options.exclude_newer.for_conda(record.name.as_normalized(), channel.as_deref());
        if let (Some(cutoff), Some(time)) = (cutoff.map(|cutoff| cutoff.resolve(now)), record.timestamp.as_ref())
            && time.jiff_timestamp() > cutoff
        {
            report(format!("{} is newer than exclude-newer allows ({cutoff})", described(package)));
        }
    }
}

/// Packages that nothing required. With sources whose dependencies only a build knows, nobody can say.
fn check_unused(
    wanted: &Wanted,
    locked: &LockedRecords<'_>,
    visited: &HashSet<(usize, Option<String>)>,
    report: &mut impl FnMut(String),
) {
    let unknown = |package: &&CondaPackageData| package.as_source().is_some() && package.record().is_none();
    if !wanted.dev.is_empty() || locked.packages.iter().any(unknown) {
        return;
    }
    for (index, package) in locked.packages.iter().enumerate() {
        if !visited.contains(&(index, None)) {
            report(not_required(&described(package)));
        }
    }
}

/// Which Python packages conda packages bring: their package URLs say; before there were any, a conda-forge package of
/// the same name was taken for the Python package.
pub(super) fn provided(packages: &[&CondaPackageData]) -> Vec<Provided> {
    let mut all = Vec::new();
    for (index, package) in packages.iter().enumerate() {
        let Some(record) = package.record() else { continue };
        let version = record.version.to_string();
        match &record.purls {
            Some(purls) => {
                for purl in purls.iter().filter(|purl| purl.package_type() == "pypi") {
                    all.push(Provided {
                        name: normalized(purl.name()),
                        version: purl.version().map_or_else(|| version.clone(), str::to_owned),
                        package: index,
                    });
                }
            }
            None if package.location().as_str().contains("/conda-forge/") => {
                let name = normalized(record.name.as_normalized());
                all.push(Provided { name, version, package: index });
            }
            None => {}
        }
    }
    all
}
