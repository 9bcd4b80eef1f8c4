//! Wheels that were built elsewhere: `--wheel FILE` and `wheels = [...]`.

use pixi_oci_platform::cannot;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use globset::GlobBuilder;
use pep508_rs::{PackageName, pep440_rs::Version};
use pixi_oci_package::Python;
use pixi_oci_wheel::check_tags;

use super::{LockedSource, SourceError};
use pixi_oci_pipeline::{SourceWheel, WheelSource};
use pixi_oci_project::{Project, Target};

/// The wheels that were given, for each source and target.
#[derive(Debug, Default)]
pub struct Injected(BTreeMap<(String, usize), SourceWheel>);

/// A wheel's file and what its name says.
struct Given {
    path: PathBuf,
    file_name: String,
    name: String,
    version: Version,
}

impl Injected {
    /// Reads the wheels that were given. Each must be of a locked source, and for one of the targets.
    pub fn read(project: &Project, scratch: &Path, locked: &[LockedSource<'_>]) -> Result<Self, SourceError> {
        let given = given(project)?;
        if given.is_empty() {
            return Ok(Self::default());
        }
        let pythons = project.targets.iter().map(Target::python).collect::<Result<Vec<_>, _>>()?;
        let mut injected = Self::default();
        let mut used: BTreeSet<&Path> = BTreeSet::new();
        let mut reasons: BTreeMap<&Path, String> = BTreeMap::new();
        for wheel in &given {
            check_name(wheel, locked)?;
        }
        for source in locked {
            let wheels: Vec<&Given> = given.iter().filter(|wheel| wheel.name == source.python_name()).collect();
            if wheels.is_empty() {
                continue;
            }
            for &index in &source.targets {
                let target = &project.targets[index];
                let chosen = choose(source, &wheels, target, pythons[index].as_ref(), &mut reasons)?;
                used.insert(&chosen.path);
                let wheel = injected.copy(scratch, chosen)?;
                injected.0.insert((source.name.clone(), index), wheel);
            }
        }
        match given.iter().find(|wheel| !used.contains(wheel.path.as_path())) {
            Some(wheel) => {
                let reason = reasons.remove(wheel.path.as_path()).unwrap_or_default();
                Err(SourceError::FitsNone { path: wheel.path.clone(), reason })
            }
            None => Ok(injected),
        }
    }

    /// The wheels of a source with the positions of their targets, if any were given.
    pub fn wheels_for(&self, source: &LockedSource<'_>) -> Option<Vec<(usize, SourceWheel)>> {
        let wheels: Option<Vec<_>> = source
            .targets
            .iter()
            .map(|index| Some((*index, self.0.get(&(source.name.clone(), *index))?.clone())))
            .collect();
        wheels.filter(|wheels| !wheels.is_empty())
    }

    /// Copies a wheel, once, so that it cannot change between its checks and its use.
    fn copy(&self, scratch: &Path, wheel: &Given) -> Result<SourceWheel, SourceError> {
        let path = scratch.join("injected").join(&wheel.file_name);
        if let Some(known) = self.0.values().find(|known| known.path == path) {
            return Ok(known.clone());
        }
        let copied = fs_err::create_dir_all(scratch.join("injected")).and_then(|()| fs_err::copy(&wheel.path, &path));
        copied.map_err(cannot("copy", &wheel.path))?;
        Ok(SourceWheel::read(&path, &wheel.name, &wheel.version.to_string(), WheelSource::Injected, None)?)
    }
}

/// Every file that was given: paths of the command line, patterns of the configuration.
fn given(project: &Project) -> Result<Vec<Given>, SourceError> {
    let mut paths: BTreeSet<PathBuf> = project.inputs.sources.wheels.iter().cloned().collect();
    let root = &project.workspace.root;
    for pattern in project.configuration.oci.wheels.iter().flatten() {
        let found = matching(root, pattern)?;
        if found.is_empty() {
            return Err(SourceError::NoMatch { pattern: pattern.clone(), workspace: root.clone() });
        }
        paths.extend(found);
    }
    paths.into_iter().map(read_name).collect()
}

/// The files that a pattern means: wild cards are in the last part of the path only.
fn matching(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let path = root.join(pattern);
    let (Some(directory), Some(last)) = (path.parent(), path.file_name().and_then(|last| last.to_str())) else {
        return Ok(Vec::new());
    };
    if path.is_file() {
        return Ok(vec![path]);
    }
    let no_match = || SourceError::NoMatch { pattern: pattern.to_owned(), workspace: root.to_owned() };
    let glob = GlobBuilder::new(last).build().map_err(|_| no_match())?.compile_matcher();
    let entries = fs_err::read_dir(directory).map_err(|_| no_match())?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter(|name| glob.is_match(name)).map(|name| directory.join(name)).collect())
}

fn read_name(path: PathBuf) -> Result<Given, SourceError> {
    let parse = || {
        let file_name = path.file_name()?.to_str()?.to_owned();
        let parts: Vec<&str> = file_name.strip_suffix(".whl")?.split('-').collect();
        let [name, version, ..] = parts[..] else { return None };
        let known = matches!(parts.len(), 5 | 6);
        let name: PackageName = name.parse().ok().filter(|_| known)?;
        let version: Version = version.parse().ok()?;
        Some((file_name, name.to_string(), version))
    };
    match parse() {
        Some((file_name, name, version)) => Ok(Given { file_name, name, version, path }),
        None => Err(SourceError::NoWheel { path }),
    }
}

/// A wheel must stand for a source, and for that very version of it.
fn check_name(wheel: &Given, locked: &[LockedSource<'_>]) -> Result<(), SourceError> {
    let mut sources = locked.iter().filter(|source| source.python_name() == wheel.name).peekable();
    if sources.peek().is_none() {
        let sources = locked.iter().map(|source| source.name.clone()).collect();
        return Err(SourceError::Unused { path: wheel.path.clone(), sources });
    }
    let other = sources.find_map(|source| {
        let version = source.version?;
        let same = version.parse::<Version>().is_ok_and(|locked| locked == wheel.version);
        (!same).then_some((source, version))
    });
    match other {
        Some((source, locked)) => Err(SourceError::Version {
            path: wheel.path.clone(),
            package: source.name.clone(),
            locked: locked.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The one wheel that is for the target.
fn choose<'a>(
    source: &LockedSource<'_>,
    wheels: &[&'a Given],
    target: &Target,
    python: Option<&Python>,
    reasons: &mut BTreeMap<&'a Path, String>,
) -> Result<&'a Given, SourceError> {
    let (package, platform) = (source.name.clone(), target.platform.name.clone());
    let Some(python) = python else { return Err(SourceError::NoPython { package, platform }) };
    let (mut fitting, mut failures) = (Vec::new(), Vec::new());
    for wheel in wheels {
        match check_tags(&wheel.file_name, python, target.platform.subdir, target.glibc()) {
            Ok(()) => fitting.push(*wheel),
            Err(error) => {
                failures.push(error.to_string());
                reasons.insert(&wheel.path, error.to_string());
            }
        }
    }
    match fitting[..] {
        [wheel] => Ok(wheel),
        [first, second, ..] => {
            Err(SourceError::Ambiguous { package, platform, first: first.path.clone(), second: second.path.clone() })
        }
        [] => Err(SourceError::NoneFits { package, platform, reasons: failures.join("; ") }),
    }
}
