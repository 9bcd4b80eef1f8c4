//! The Python packages of a lock file against what is wanted, on the locked Python and platform.

use std::collections::{BTreeSet, HashMap, HashSet};

use pep508_rs::{ExtraName, MarkerEnvironment, pep440_rs};
use rattler_conda_types::PackageRecord;
use rattler_lock::{PypiPackageData, UrlOrPath};

use super::{
    conda::{Provided, provided},
    difference::{not_required, required},
    local,
    markers::marker_environment,
    packages::Packages,
    pypi_location::{Requirer, unlike},
    tags,
};
use crate::{
    LockFile, Wanted,
    file::package::{normalize, percent_decode},
};
use pixi_oci_net::redact;
use pixi_oci_workspace::{FindLinks, PypiRequirement, PypiSource};

struct Asked {
    requirement: PypiRequirement,
    /// Who asks: `feature x`, `package y`.
    by: String,
    origin: Requirer,
}

/// Compares, and says which conda packages are there for a Python requirement. `group` is what all environments of the
/// solve group require: where one of them has a package from elsewhere than an index, all have it from there.
pub(super) fn compare(
    wanted: &Wanted,
    lock: &LockFile,
    packages: &Packages<'_>,
    group: &[PypiRequirement],
    report: &mut impl FnMut(String),
) -> HashSet<usize> {
    let mut conda_used = HashSet::new();
    let python = python(packages);
    let environment = python.and_then(|python| marker_environment(&wanted.platform.subdir, python));
    let applies = |requirement: &PypiRequirement, extras: &[ExtraName]| {
        environment.as_ref().is_none_or(|environment| requirement.marker.evaluate(environment, extras))
    };
    let mut asked: Vec<Asked> = Vec::new();
    for requirement in &wanted.pypi {
        if applies(requirement, &extra_names(&requirement.extras)) {
            let by = format!("feature {}", requirement.feature);
            asked.push(Asked { requirement: requirement.clone(), by, origin: Requirer::Manifest });
        }
    }
    let Some(environment) = environment else {
        if !asked.is_empty() {
            report(required("python for Python packages", &asked[0].by, None));
        }
        return conda_used;
    };

    let by_name: HashMap<String, usize> =
        packages.pypi.iter().enumerate().map(|(index, package)| (package.name().to_string(), index)).collect();
    let provided = provided(&packages.conda);
    let links = wanted.options.pypi_options.find_links.iter().filter_map(|link| match link {
        FindLinks::Url(url) => Some(url.to_string()),
        FindLinks::Path(_) => None,
    });
    let indexes: Vec<_> = wanted.options.pypi_options.indexes().into_iter().chain(links).collect();
    let mut visited: HashSet<(usize, Vec<String>)> = HashSet::new();
    let mut direct = Direct::default();
    group.iter().for_each(|requirement| direct.note(requirement, Requirer::Package));
    // Those of the manifest first, so that what is wrong is said with the name of a feature.
    asked.reverse();
    while let Some(Asked { requirement, by, origin }) = asked.pop() {
        let name = &requirement.name;
        let is_overridden = wanted.options.pypi_options.dependency_overrides.contains(name);
        direct.note(&requirement, origin);
        let of_conda = provided.iter().find(|provided| provided.name == *name);
        // A Python package of the lock file is there because no conda package was to be used.
        let Some(&index) = by_name.get(name) else {
            match of_conda {
                Some(provided) => {
                    conda_used.insert(provided.package);
                    if !is_overridden && let Some(has) = unlike_conda(&requirement.source, provided) {
                        report(required(text(&requirement), &by, Some(has)));
                    }
                }
                None => report(required(text(&requirement), &by, None)),
            }
            continue;
        };
        let package = packages.pypi[index];
        if !is_overridden && let Some(has) = unlike(&requirement.source, package, origin, lock, &indexes) {
            report(required(text(&requirement), &by, Some(has)));
        }
        let mut extras = requirement.extras.clone();
        extras.sort();
        if !visited.insert((index, extras)) {
            continue;
        }
        let extras = extra_names(&requirement.extras);
        for dependency in package.requires_dist() {
            let converted = match PypiRequirement::parse(&dependency.to_string(), "") {
                Ok(converted) => converted,
                Err(message) => {
                    let package = described(package);
                    report(format!("{package} has a requirement that cannot be understood: {message}"));
                    continue;
                }
            };
            if converted.marker.evaluate(&environment, &extras) {
                let by = format!("package {name}");
                let origin = if is_local(package) { Requirer::Manifest } else { Requirer::Package };
                let origin =
                    if matches!(converted.source, PypiSource::Registry { .. }) { Requirer::Package } else { origin };
                asked.push(Asked { requirement: converted, by, origin });
            }
        }
    }

    let seen: HashSet<usize> = visited.iter().map(|(index, _)| *index).collect();
    for (index, package) in packages.pypi.iter().enumerate() {
        if !seen.contains(&index) {
            report(not_required(&described(package)));
            continue;
        }
        direct.check(package, report);
        check_package(package, wanted, lock, &environment, python, report);
    }
    conda_used
}

fn python<'l>(packages: &Packages<'l>) -> Option<&'l PackageRecord> {
    let python = packages.conda.iter().find(|package| package.name().as_normalized() == "python")?;
    python.record()
}

fn text(requirement: &PypiRequirement) -> String {
    let mut text = requirement.name.clone();
    if !requirement.extras.is_empty() {
        text.push_str(&format!("[{}]", requirement.extras.join(",")));
    }
    match &requirement.source {
        PypiSource::Registry { version, index } => {
            if !version.is_empty() {
                text.push_str(&format!(" {}", version.to_string().replace(", ", ",")));
            }
            if let Some(index) = index {
                text.push_str(&format!(" from {}", redact(index.as_str())));
            }
        }
        PypiSource::Git { url, reference, .. } => {
            text.push_str(&format!(" from {}", redact(url.as_str())));
            use pixi_oci_workspace::GitReference::{Branch, Rev, Tag};
            if let Some(Branch(name) | Tag(name) | Rev(name)) = reference {
                text.push_str(&format!("@{name}"));
            }
        }
        PypiSource::Path { path, .. } => text.push_str(&format!(" from {path}")),
        PypiSource::Url { url, .. } => text.push_str(&format!(" from {}", redact(url.as_str()))),
    }
    text
}

fn described(package: &PypiPackageData) -> String {
    match package.version() {
        Some(version) => format!("{} {version}", package.name()),
        None => package.name().to_string(),
    }
}

fn extra_names(extras: &[String]) -> Vec<ExtraName> {
    extras.iter().filter_map(|extra| extra.parse().ok()).collect()
}

fn is_local(package: &PypiPackageData) -> bool {
    matches!(package.location().inner(), UrlOrPath::Path(_))
}

/// What a conda package has instead of what a Python requirement wants.
fn unlike_conda(source: &PypiSource, provided: &Provided) -> Option<String> {
    let PypiSource::Registry { version, .. } = source else { return Some("a conda package".to_owned()) };
    // What is no Python version cannot be compared.
    let has: pep440_rs::Version = provided.version.parse().ok()?;
    (!version.contains(&has)).then(|| format!("{} (a conda package)", provided.version))
}

/// Which packages are required from somewhere else than an index, and which from an index only.
#[derive(Default)]
struct Direct {
    direct: BTreeSet<String>,
    manifest: HashMap<String, (PypiRequirement, String)>,
}

impl Direct {
    fn note(&mut self, requirement: &PypiRequirement, origin: Requirer) {
        match requirement.source {
            PypiSource::Registry { .. } if origin == Requirer::Manifest => {
                let feature = requirement.feature.clone();
                self.manifest.entry(requirement.name.clone()).or_insert((requirement.clone(), feature));
            }
            PypiSource::Registry { .. } => {}
            _ => {
                self.direct.insert(requirement.name.clone());
            }
        }
    }

    /// The manifest wants it from an index, nobody from elsewhere, and it is locked from elsewhere.
    fn check(&self, package: &PypiPackageData, report: &mut impl FnMut(String)) {
        let name = package.name().to_string();
        let location = package.location().inner();
        let is_direct = match location {
            UrlOrPath::Path(_) => package.as_source().is_some(),
            UrlOrPath::Url(url) => url.scheme().starts_with("git") || url.scheme().starts_with("direct"),
        };
        if let Some((requirement, feature)) = self.manifest.get(&name)
            && is_direct
            && !self.direct.contains(&name)
        {
            report(required(text(requirement), &format!("feature {feature}"), Some(redact(location.as_str()))));
        }
    }
}

/// What a package must be by itself: for this Python, for this machine, allowed, unchanged.
fn check_package(
    package: &PypiPackageData,
    wanted: &Wanted,
    lock: &LockFile,
    environment: &MarkerEnvironment,
    python: Option<&PackageRecord>,
    report: &mut impl FnMut(String),
) {
    let mut say = |message: String| report(format!("{} {message}", described(package)));
    let has = &environment.python_full_version().version;
    if let Some(requires) = package.requires_python()
        && !lower_bounds_allow(requires, has)
    {
        say(format!("is for Python {requires}, the lock has Python {has}"));
    }
    if let (Some(_), UrlOrPath::Path(path)) = (package.as_wheel(), package.location().inner())
        && lock.directory().join(path.as_str()).is_dir()
    {
        say("is locked as an archive, and is a directory".to_owned());
    }
    let name = package.name().to_string();
    let file_name = package.location().inner().file_name().unwrap_or_default().to_owned();
    let is_wheel = file_name.ends_with(".whl");
    if let (true, Some(target)) = (is_wheel, tag_target(wanted, python))
        && !tags::fits(&percent_decode(&file_name), target)
    {
        let (major, minor) = target.glibc;
        say(format!(
            "is locked as {file_name}, which is not for Python {has} on {} with glibc {major}.{minor}",
            wanted.platform.subdir
        ));
    }
    let is_editable = wanted.pypi.iter().any(|requirement| requirement.name == name && requirement.is_editable());
    if !is_wheel && !is_editable && wanted.options.pypi_options.no_build.contains(&name) {
        say("would have to be built, which no-build forbids".to_owned());
    }
    if let (Some(source), UrlOrPath::Path(path)) = (package.as_source(), package.location().inner()) {
        local::compare(source, &normalize(&lock.directory().join(path.as_str())), &mut say);
    }
}

/// Whether the lower bounds of a specification allow a version. Upper bounds of `requires-python` are ignored by pixi
/// and uv: they are guesses about the future.
fn lower_bounds_allow(requires: &pep440_rs::VersionSpecifiers, version: &pep440_rs::Version) -> bool {
    use pep440_rs::Operator;
    requires.iter().all(|specifier| match specifier.operator() {
        Operator::GreaterThanEqual | Operator::TildeEqual | Operator::Equal | Operator::EqualStar => {
            version >= specifier.version()
        }
        Operator::GreaterThan => version > specifier.version(),
        _ => true,
    })
}

/// What wheels must be for; `None` where tags are not judged.
fn tag_target(wanted: &Wanted, python: Option<&PackageRecord>) -> Option<tags::WheelTarget> {
    let python = python?;
    let machine = match wanted.platform.subdir.as_str() {
        "linux-64" => "x86_64",
        "linux-aarch64" => "aarch64",
        _ => return None,
    };
    let glibc = wanted.virtual_packages.iter().find(|package| package.name == "__glibc")?;
    let is_free_threaded = |text: &String| text.starts_with("python_abi") && text.ends_with('t');
    Some(tags::WheelTarget {
        python: python.version.version().as_major_minor()?,
        free_threaded: python.depends.iter().any(is_free_threaded),
        machine,
        glibc: glibc.version.as_major_minor()?,
    })
}
