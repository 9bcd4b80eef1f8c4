//! The builds of all sources, one after the other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use pixi_oci_package::{PackageInfo, Python};
use pixi_oci_platform::{Links, open};
use pixi_oci_wheel::check_tags;
use tempfile::TempDir;

use super::{
    BuildError, ENVIRONMENT_TAG, Means, Need, Pending, Place,
    cache::WheelCache,
    container::Podman,
    conversation::Run,
    host::{Host, network},
    read,
    requires::Installed,
    runs,
    tree::{SourceTar, source_tar},
};
use crate::{Decided, SourceError};
use pixi_oci_pipeline::{SourceWheel, is_unpinned};
use pixi_oci_project::Target;
use pixi_oci_project::{BuildPlace, Event};

/// Sources that are being built. It says what it needs, and is given it, until nothing is left:
/// [`proceed`](Self::proceed) builds as far as it can.
pub struct Builds<'a> {
    decided: &'a mut Decided,
    pub(super) means: &'a Means<'a>,
    pub(super) place: BuildPlace,
    /// Whether a build on this machine has no network.
    pub(super) alone: bool,
    pub(super) cache: WheelCache,
    podman: Option<Podman>,
    jobs: Vec<Job>,
    pub(super) known: BTreeMap<usize, TargetFacts>,
    /// A layout that is being written.
    layout: Option<TempDir>,
}

/// A source, and the targets that still lack its wheel, the next one last.
struct Job {
    source: Pending,
    tar: Option<SourceTar>,
    targets: Vec<usize>,
    made: Vec<SourceWheel>,
}

/// What is known of a target.
#[derive(Default)]
pub(super) struct TargetFacts {
    /// The digest of its base image; `None` in it for `scratch`.
    pub(super) base: Option<Option<String>>,
    installed: Option<Installed>,
    environment: Option<Environment>,
}

/// What a build runs in.
enum Environment {
    /// The identifier of its image.
    Container(String),
    Host(Host),
}

impl<'a> Builds<'a> {
    /// Takes what is pending, and waits until no other process builds.
    ///
    /// # Errors
    /// The cache of wheels cannot be used.
    pub fn open(decided: &'a mut Decided, means: &'a Means<'a>) -> Result<Self, SourceError> {
        let cache = WheelCache::open(&means.session.caches.dir).map_err(|source| SourceError::Io {
            action: "open",
            path: means.session.caches.dir.join("wheels"),
            source,
        })?;
        let place = means.project.inputs.sources.build.unwrap_or(BuildPlace::Container);
        let alone = place == BuildPlace::Host && Host::can_be_alone();
        let jobs = std::mem::take(&mut decided.pending).into_iter().rev().map(|source| {
            let mut targets = source.targets.clone();
            // A machine's own architecture first: a pure wheel that is built there is for the others, too.
            targets.sort_by_key(|index| !runs(place, means.project.targets[*index].architecture));
            targets.reverse();
            Job { source, tar: None, targets, made: Vec::new() }
        });
        let jobs = jobs.collect();
        Ok(Self { decided, means, place, alone, cache, podman: None, jobs, known: BTreeMap::new(), layout: None })
    }

    /// Builds until something is needed; with `None`, everything that was pending is built.
    ///
    /// # Errors
    /// A source cannot be built.
    pub fn proceed(&mut self) -> Result<Option<Need>, SourceError> {
        while let Some(mut job) = self.jobs.pop() {
            let tar = match job.tar.take() {
                Some(tar) => tar,
                None => source_tar(&job.source, self.means)?,
            };
            while let Some(&index) = job.targets.last() {
                match self.wheel(&job, &tar, index)? {
                    Err(need) => {
                        self.jobs.push(Job { tar: Some(tar), ..job });
                        return Ok(Some(need));
                    }
                    Ok(wheel) => {
                        job.targets.pop();
                        let installed = SourceWheel { direct_url: job.source.direct_url.clone(), ..wheel.clone() };
                        self.decided.add(&self.means.project.targets[index], &job.source.name, installed);
                        job.made.push(wheel);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The digest of a target's base image; `None` for `scratch`.
    pub fn base(&mut self, target: usize, digest: Option<String>) {
        self.known.entry(target).or_default().base = Some(digest);
    }

    /// What a target's conda packages say about themselves.
    pub fn infos(&mut self, target: usize, infos: &[PackageInfo]) {
        let installed = Installed::of(&self.means.tools.targets[target], infos);
        self.known.entry(target).or_default().installed = Some(installed);
    }

    /// A target's locked packages are where they were to be written.
    ///
    /// # Errors
    /// podman does not take the image.
    pub fn environment(&mut self, target: usize, place: Place) -> Result<(), SourceError> {
        let environment = match place {
            Place::Prefix { .. } => Environment::Host(Host::new(self.cache.host_directory(), self.alone)),
            Place::Layout { directory, .. } => {
                let architecture = self.means.tools.targets[target].architecture.to_string();
                let parent = directory.parent().unwrap_or(&directory).to_owned();
                Environment::Container(self.podman()?.image(&parent, ENVIRONMENT_TAG, &architecture)?)
            }
        };
        self.layout = None;
        self.known.entry(target).or_default().environment = Some(environment);
        Ok(())
    }

    /// The wheel of a source for a target, from the cache or newly built, or what is needed to build it.
    fn wheel(&mut self, job: &Job, tar: &SourceTar, index: usize) -> Result<Result<SourceWheel, Need>, SourceError> {
        let (source, target) = (&job.source, &self.means.project.targets[index]);
        let python = python_of(source, target)?;
        let fits = |wheel: &SourceWheel| check_tags(&wheel.file_name, &python, target.platform.subdir, target.glibc());
        if let Some(wheel) = job.made.iter().find(|wheel| fits(wheel).is_ok()) {
            return Ok(Ok(wheel.clone()));
        }
        let tools = &self.means.tools;
        let same = |tool: &Target| tool.platform.subdir == target.platform.subdir;
        let index = tools.targets.iter().position(same).ok_or_else(|| BuildError::Project {
            package: source.name.clone(),
            reason: format!(
                "its build environment `{}` is not locked for {}",
                tools.configuration.environment, target.platform.name
            ),
        })?;
        let key = match self.surroundings(source, index)? {
            Some(surroundings) => self.key(tar, index, &surroundings),
            None => return Ok(Err(Need::Base(index))),
        };
        // The key does not say what packages are that the lock file has no sha256 of.
        let unpinned = target.packages.iter().chain(&tools.targets[index].packages).any(is_unpinned);
        let wheel = match self.cache.get(&key).filter(|_| !unpinned) {
            Some(path) => read(source, &path)?,
            None => match self.build(source, tar, index)? {
                Err(need) => return Ok(Err(need)),
                Ok((directory, path)) => self.keep(&key, source, tar, index, directory, &path)?,
            },
        };
        fits(&wheel).map_err(|error| BuildError::Unfit { package: source.name.clone(), reason: error.to_string() })?;
        Ok(Ok(wheel))
    }

    /// Builds a wheel in a directory of the cache.
    fn build(
        &mut self,
        source: &Pending,
        tar: &SourceTar,
        index: usize,
    ) -> Result<Result<(TempDir, PathBuf), Need>, SourceError> {
        let target = &self.means.tools.targets[index];
        let python = python_of(source, target)?;
        if !runs(self.place, target.architecture) {
            let (package, architecture) = (source.name.clone(), target.architecture.to_string());
            return Err(match self.place {
                BuildPlace::Container => BuildError::Architecture { package, architecture }.into(),
                BuildPlace::Host if !pixi_oci_platform::IS_LINUX => BuildError::HostSystem { package }.into(),
                BuildPlace::Host => BuildError::HostArchitecture { package, architecture }.into(),
            });
        }
        let Some(installed) = self.known.get(&index).and_then(|known| known.installed.as_ref()) else {
            return Ok(Err(Need::Infos(index)));
        };
        installed.check(&source.name, &tar.requires)?;
        let Some(environment) = self.known.get(&index).and_then(|known| known.environment.as_ref()) else {
            return self.place(index).map(|place| Err(Need::Environment(index, place)));
        };
        let failed = |error| BuildError::Io { package: source.name.clone(), source: error };
        let directory = self.cache.build_directory().map_err(failed)?;
        let (name, platform) = (source.name.clone(), target.platform.name.clone());
        self.means.session.emit(Event::SourceStarted { name, platform });
        let run = Run {
            package: &source.name,
            python: &format!("{}/{}", self.prefix(), python.executable),
            group: self.place == BuildPlace::Host,
            epoch: self.epoch(),
            interrupted: &self.means.session.cancelled,
        };
        let mut file = open(&tar.path, Links::Refuse).map_err(failed)?;
        let check = |requires: &[String]| installed.check(&source.name, requires);
        let path = match environment {
            Environment::Container(image) => {
                let podman = self.podman.as_ref().ok_or(SourceError::Interrupted)?;
                podman.build(image, &run, &tar.order, &mut file, directory.path(), &check)?
            }
            Environment::Host(host) => host.build(&run, &tar.order, &mut file, directory.path(), &check)?,
        };
        Ok(Ok((directory, path)))
    }

    /// Keeps a wheel that was built, and says so.
    fn keep(
        &mut self,
        key: &str,
        source: &Pending,
        tar: &SourceTar,
        index: usize,
        directory: TempDir,
        path: &Path,
    ) -> Result<SourceWheel, SourceError> {
        // Nothing is kept that is not a wheel of this package.
        read(source, path)?;
        let failed = |error| BuildError::Io { package: source.name.clone(), source: error };
        let path = self.cache.put(key, directory, path).map_err(failed)?;
        let wheel = read(source, &path)?;
        let target = &self.means.tools.targets[index];
        let (name, platform) = (source.name.clone(), target.platform.name.clone());
        self.means.session.emit(Event::SourceFinished { name, platform, wheel: wheel.file_name.clone() });
        let place = match self.place {
            BuildPlace::Container => "in a container".to_owned(),
            BuildPlace::Host => "on the host".to_owned(),
        };
        let network = match self.place {
            BuildPlace::Container => String::new(),
            BuildPlace::Host => format!(", {}", network(self.alone)),
        };
        let told = match &tar.told {
            Some(version) => format!(", told that it is version {version}"),
            None => String::new(),
        };
        self.decided.executed.push(format!(
            "{} {}: {} built {} {place} for linux/{}{network}{told}",
            source.name, wheel.version, tar.order.backend, wheel.file_name, target.architecture
        ));
        Ok(wheel)
    }

    /// Where a target's environment is to be written.
    fn place(&mut self, index: usize) -> Result<Place, SourceError> {
        if self.means.session.cancelled.load(Ordering::Relaxed) {
            return Err(SourceError::Interrupted);
        }
        if self.place == BuildPlace::Host {
            let directory = self.cache.host_directory();
            std::fs::create_dir(&directory).map_err(|source| SourceError::Io {
                action: "make",
                path: directory.clone(),
                source,
            })?;
            self.means.session.emit(Event::Warning(format!(
                "sources are built on this machine, {}; they can read what you can",
                network(self.alone)
            )));
            return Ok(Place::Prefix { prefix: Host::prefix_in(&directory), activate: Host::activate_in(&directory) });
        }
        let scratch = self.means.scratch;
        let made = tempfile::Builder::new().prefix("environment-").tempdir_in(scratch);
        let made = made.map_err(|source| SourceError::Io { action: "write to", path: scratch.into(), source })?;
        self.podman()?;
        let architecture = self.means.tools.targets[index].architecture.to_string();
        let directory = made.path().join(Podman::directory(&architecture));
        self.layout = Some(made);
        Ok(Place::Layout { directory, tag: ENVIRONMENT_TAG })
    }

    fn podman(&mut self) -> Result<&Podman, SourceError> {
        if self.podman.is_none() {
            let session = self.means.session;
            let containers = &session.resources.containers;
            self.podman = Some(Podman::open(&containers.scratch, &containers.path, |text| session.warn(text))?);
        }
        self.podman.as_ref().ok_or(SourceError::Interrupted)
    }
}

fn python_of(source: &Pending, target: &Target) -> Result<Python, SourceError> {
    target
        .python()?
        .ok_or_else(|| SourceError::NoPython { package: source.name.clone(), platform: target.platform.name.clone() })
}
