//! From locked sources (source archives, git repositories, directories) to wheels.
//!
//! Making a wheel of a source runs the source's code, so it is never done silently. [`decide`] looks at every source of all
//! targets before anything is downloaded. A source becomes a wheel in one of these ways, the first that applies:
//!
//! 1. **Injected**: somebody built it elsewhere (`--wheel FILE`, `wheels = [...]`).
//! 2. **Own**: it is a directory of the workspace, of pure Python with static metadata; see `own`. No code runs.
//! 3. **Built**: in a container without a network, or on this machine, because somebody said so (`--build-sdists`).
//!
//! What is left is one error that lists everything. The rest of the build treats the wheels like locked ones, with the
//! difference that own ones go to the application layer.

mod built;
mod direct_url;
mod error;
mod injected;
mod listing;
mod not_static;
mod own;
mod pyproject;
mod vcs;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use pixi_oci_lock::{ArchiveLocation, LockedPackage, PypiSourceKind, Sha256};
use pixi_oci_platform::{Links, cannot, read_text};

pub use self::{
    built::{BuildError, Builds, Means, Need, Pending, PendingKind, Place},
    error::{SourceError, Undecided},
};
use self::{injected::Injected, own::own_wheel};
use pixi_oci_pipeline::{SourceWheel, WheelSource};
use pixi_oci_project::{Project, Target};

#[derive(Debug, Default)]
pub struct Decided {
    /// By the name of the target's platform, then by [`LockedPackage::name`].
    wheels: BTreeMap<String, SourceWheels>,
    /// What has to be built first: [`Builds`].
    pub pending: Vec<Pending>,
    pub executed: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The wheels that stand for sources of a target, by [`LockedPackage::name`].
pub type SourceWheels = BTreeMap<String, SourceWheel>;

static NO_WHEELS: SourceWheels = BTreeMap::new();

impl Decided {
    pub fn wheels(&self, target: &Target) -> &SourceWheels {
        self.wheels.get(&target.platform.name).unwrap_or(&NO_WHEELS)
    }

    fn add(&mut self, target: &Target, package: &str, wheel: SourceWheel) {
        self.wheels.entry(target.platform.name.clone()).or_default().insert(package.to_owned(), wheel);
    }
}

/// A locked source, the same for all targets that have it.
#[derive(Debug, Clone)]
struct LockedSource<'a> {
    /// [`LockedPackage::name`]
    name: String,
    version: Option<&'a str>,
    /// Where it is, as the lock file has it, without credentials.
    location: &'a str,
    place: &'a ArchiveLocation,
    kind: SourceKind,
    /// Of a source archive.
    sha256: Option<Sha256>,
    /// Positions of the targets that have it.
    targets: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    Pypi(PypiSourceKind),
    Conda,
}

/// Decides about the sources of all targets. `scratch` is a directory for wheels that are made, which lives as long as the
/// build.
pub fn decide(project: &Project, scratch: &Path) -> Result<Decided, SourceError> {
    let locked = locked(&project.targets);
    let mut decided = Decided::default();
    let injected = Injected::read(project, scratch, &locked)?;
    let mut undecided = Vec::new();
    let mut own_sources = OwnSources::new(project, scratch);
    for source in &locked {
        if let Some(wheels) = injected.wheels_for(source) {
            for (target, wheel) in wheels {
                let direct_url = source.direct_url(&project.configuration.workdir);
                decided.add(&project.targets[target], &source.name, SourceWheel { direct_url, ..wheel });
            }
            continue;
        }
        match own_sources.wheel(source, &mut decided.warnings)? {
            Ok(wheel) => {
                for target in &source.targets {
                    decided.add(&project.targets[*target], &source.name, wheel.clone());
                }
            }
            Err(reason) => {
                match source.pending(&project.configuration.workdir).filter(|_| project.inputs.sources.build.is_some())
                {
                    Some(pending) => decided.pending.push(pending),
                    None => undecided.push(source.undecided(reason)),
                }
            }
        }
    }
    if !undecided.is_empty() {
        undecided.sort();
        return Err(SourceError::Undecided { undecided });
    }
    Ok(decided)
}

/// All sources, by name.
fn locked(targets: &[Target]) -> Vec<LockedSource<'_>> {
    let mut all: BTreeMap<(String, &str), LockedSource<'_>> = BTreeMap::new();
    for (index, package) in
        targets.iter().enumerate().flat_map(|(index, target)| target.packages.iter().map(move |p| (index, p)))
    {
        let name = package.name();
        let source = match package {
            LockedPackage::Conda(_) | LockedPackage::Wheel(_) => continue,
            LockedPackage::CondaSource { location, place, .. } => LockedSource {
                name,
                version: None,
                location,
                place,
                kind: SourceKind::Conda,
                sha256: None,
                targets: Vec::new(),
            },
            LockedPackage::PypiSource { version, location, kind, place, sha256, .. } => LockedSource {
                name,
                version: version.as_deref(),
                location,
                place,
                kind: SourceKind::Pypi(*kind),
                sha256: *sha256,
                targets: Vec::new(),
            },
        };
        all.entry((source.name.clone(), source.location)).or_insert(source).targets.push(index);
    }
    all.into_values().collect()
}

impl LockedSource<'_> {
    /// The PEP 503 name, as far as a conda package has one.
    fn python_name(&self) -> &str {
        self.name.strip_prefix("pypi:").unwrap_or(&self.name)
    }

    fn what(&self) -> String {
        let kind = match self.kind {
            SourceKind::Pypi(PypiSourceKind::Sdist) => "source archive",
            SourceKind::Pypi(PypiSourceKind::Git) => "git",
            SourceKind::Pypi(PypiSourceKind::Directory) => "directory",
            SourceKind::Conda => "conda source package in",
        };
        format!("{kind} {}", self.location)
    }

    /// How it would be built. Conda source packages are built by pixi's backends only.
    fn pending(&self, workdir: &str) -> Option<Pending> {
        let kind = match (self.kind, self.place) {
            (SourceKind::Pypi(PypiSourceKind::Sdist), place) => {
                PendingKind::Archive(direct_url::plain(place), self.sha256)
            }
            (SourceKind::Pypi(PypiSourceKind::Git), ArchiveLocation::Url(url)) => PendingKind::Git(url.clone()),
            (SourceKind::Pypi(PypiSourceKind::Directory), ArchiveLocation::Path(path)) => {
                PendingKind::Directory(path.clone())
            }
            _ => return None,
        };
        Some(Pending {
            name: self.name.clone(),
            python_name: self.python_name().to_owned(),
            version: self.version.map(str::to_owned),
            kind,
            direct_url: self.direct_url(workdir),
            targets: self.targets.clone(),
        })
    }

    fn undecided(&self, reason: Option<String>) -> Undecided {
        Undecided { name: self.name.clone(), version: self.version.map(str::to_owned), what: self.what(), reason }
    }
}

/// The directories of the workspace that are installed from their files.
struct OwnSources<'a> {
    project: &'a Project,
    scratch: &'a Path,
    /// For each target, what the manifest wants installed as editable.
    editable: Vec<Option<BTreeSet<String>>>,
}

impl<'a> OwnSources<'a> {
    fn new(project: &'a Project, scratch: &'a Path) -> Self {
        Self { project, scratch, editable: vec![None; project.targets.len()] }
    }

    /// The wheel of a source of the workspace, or why there is none, where there is something to say.
    fn wheel(
        &mut self,
        source: &LockedSource<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Result<SourceWheel, Option<String>>, SourceError> {
        if !matches!(source.kind, SourceKind::Pypi(PypiSourceKind::Directory) | SourceKind::Conda) {
            return Ok(Err(None));
        }
        let ArchiveLocation::Path(place) = source.place else { return Ok(Err(None)) };
        let root = self.project.workspace.root.as_path();
        let directory = if place.is_file() { place.parent().unwrap_or(place) } else { place };
        let Ok(real) = fs_err::canonicalize(directory) else {
            return Ok(Err(Some("there is no such directory".into())));
        };
        let real_root = fs_err::canonicalize(root).map_err(cannot("find", root))?;
        let Ok(below) = real.strip_prefix(&real_root) else {
            if source.kind != SourceKind::Conda && self.is_editable(source)? {
                let directory = source.location.to_owned();
                return Err(SourceError::EditableOutside { package: source.name.clone(), directory });
            }
            return Ok(Err(Some("it is outside of the workspace".into())));
        };
        if source.kind == SourceKind::Conda
            && let Some(reason) = conda_backend(&real)
        {
            return Ok(Err(Some(reason)));
        }
        let name = (source.kind != SourceKind::Conda).then(|| source.python_name());
        let scratch = self.scratch.join("own");
        fs_err::create_dir_all(&scratch).map_err(cannot("make", &scratch))?;
        let made = match own_wheel(&real, &real_root, (name, source.version), &scratch)? {
            Ok(made) => made,
            Err(reason) => return Ok(Err(Some(reason.to_string()))),
        };
        for (path, what) in &made.left_out {
            warnings.push(format!("{}: {path} is not installed: it looks like {what}", source.name));
        }
        let directory = Some(below.to_path_buf());
        Ok(Ok(SourceWheel::read(&made.path, &made.name, &made.version, WheelSource::Own, directory)?))
    }

    fn is_editable(&mut self, source: &LockedSource<'_>) -> Result<bool, SourceError> {
        for &index in &source.targets {
            let known = match self.editable[index].take() {
                Some(known) => known,
                None => self.project.workspace.editable_dependencies(
                    &self.project.configuration.environment,
                    self.project.targets[index].platform.target(),
                )?,
            };
            let found = known.contains(source.python_name());
            self.editable[index] = Some(known);
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// No manifest written by people comes near this.
const MAX_MANIFEST: u64 = 8 << 20;

/// Why a conda source package is not one of Python files only. `None`: it is.
fn conda_backend(directory: &Path) -> Option<String> {
    let read = |file: &str| read_text(&directory.join(file), Links::Follow, MAX_MANIFEST).ok();
    let parse = |text: String| toml_edit::de::from_str::<serde_json::Value>(&text).ok();
    let package = match (read("pixi.toml").and_then(parse), read("pyproject.toml").and_then(parse)) {
        (Some(pixi), _) if !pixi["package"].is_null() => pixi["package"].clone(),
        (_, Some(pyproject)) => pyproject["tool"]["pixi"]["package"].clone(),
        _ => serde_json::Value::Null,
    };
    match package["build"]["backend"]["name"].as_str() {
        Some("pixi-build-python") => None,
        Some(other) => Some(format!("only {other} knows what it builds")),
        None => Some("it has no [package.build] with a backend".into()),
    }
}
