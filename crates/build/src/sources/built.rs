//! `--build-sdists`: sources become wheels with the environment's own Python, in a container without a network or, where
//! somebody said so, on this machine.
//!
//! Each source is built once: the wheel is kept under the hash of everything that it depends on. A pure wheel serves all
//! architectures; a binary one is built for each, if this machine can run it.

mod cache;
mod container;
mod conversation;
mod error;
mod git;
mod host;
mod requires;
mod tree;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use pixi_oci_image::Architecture;
use pixi_oci_package::{PackageInfo, Python};
use pixi_oci_podman::Runs;
use pixi_oci_resolve::{ArchiveLocation, Client, Sha256};
use pixi_oci_wheel::DirectUrl;
use pixi_oci_wheel::check_tags;
use sha2::Digest as _;

pub use self::error::BuildError;
use self::{
    cache::WheelCache,
    container::{Image, Podman},
    conversation::{Check, DRIVER, Order, Run},
    host::{Host, system},
    requires::Installed,
    tree::SourceTar,
};
use super::{Decided, SourceWheel, WheelOrigin, injected::glibc, python_of};
use crate::{
    BuildPlace, BuildRequest, Error, Event, OnEvent, configuration::Configuration, layers::CONSTANT_TIME,
    target::Target,
};

/// A source that is to be built.
#[derive(Debug, Clone)]
pub struct Pending {
    /// [`LockedPackage::name`](pixi_oci_resolve::LockedPackage::name)
    pub name: String,
    /// The PEP 503 name.
    pub python_name: String,
    /// Its version, where it is locked.
    pub version: Option<String>,
    /// What it is.
    pub kind: PendingKind,
    /// What its `direct_url.json` will say.
    pub direct_url: Option<DirectUrl>,
    /// Positions of the targets that have it.
    pub targets: Vec<usize>,
}

/// What a source is, and where.
#[derive(Debug, Clone)]
pub enum PendingKind {
    /// A source archive.
    Archive(ArchiveLocation, Option<Sha256>),
    /// A git repository with its commit.
    Git(url::Url),
    /// A directory of this machine.
    Directory(PathBuf),
}

/// What builds need from the rest of the program.
pub struct Means<'a> {
    /// What was asked for.
    pub request: &'a BuildRequest,
    /// The configuration.
    pub configuration: &'a Configuration,
    /// What is built.
    pub targets: &'a [Target],
    /// Fetches source archives.
    pub client: &'a Client,
    /// A directory for temporary files.
    pub scratch: &'a Path,
    /// Is told what happens.
    pub on_event: OnEvent<'a>,
    /// What a target's conda packages say about themselves.
    pub infos: &'a dyn Fn(usize) -> Result<Vec<PackageInfo>, Error>,
    /// The digest of the base image of a target; `None` for `scratch`.
    pub base: &'a dyn Fn(usize) -> Result<Option<String>, Error>,
    /// Writes an image of a target's locked packages, with a label, as an OCI layout into an empty directory, under the tag
    /// [`ENVIRONMENT_TAG`].
    pub environment: &'a dyn Fn(usize, &Path, (&str, &str)) -> Result<(), Error>,
    /// Writes a target's locked packages to a prefix on this machine, and a script that sets them up to the other path.
    pub install: &'a dyn Fn(usize, &Path, &Path) -> Result<(), Error>,
}

/// The tag of images that builds run in.
pub const ENVIRONMENT_TAG: &str = "environment";

/// Builds what is pending, and adds the wheels to what was decided.
pub fn build_sources(decided: &mut Decided, means: &Means<'_>) -> Result<(), Error> {
    let pending = std::mem::take(&mut decided.pending);
    if pending.is_empty() {
        return Ok(());
    }
    let io = |source| Error::Io { action: "open", path: means.request.cache_dir.join("wheels"), source };
    let cache = WheelCache::open(&means.request.cache_dir).map_err(io)?;
    let place = means.request.build_sdists.unwrap_or(BuildPlace::Container);
    let alone = place == BuildPlace::Host && Host::can_be_alone();
    let environments = means.targets.iter().map(|_| None).collect();
    let mut builder = Builder { means, place, alone, cache, podman: None, environments };
    for source in &pending {
        let tar = tree::source_tar(source, means)?;
        let mut made: Vec<SourceWheel> = Vec::new();
        // A machine's own architecture first: a pure wheel that is built there is for the others, too.
        let mut order = source.targets.clone();
        order.sort_by_key(|index| !runs(place, means.targets[*index].architecture));
        for index in order {
            let (python, target) = (builder.python(source, index)?, &means.targets[index]);
            let fits =
                |wheel: &SourceWheel| check_tags(&wheel.file_name, &python, target.platform.subdir, glibc(target));
            let wheel = match made.iter().find(|wheel| fits(wheel).is_ok()) {
                Some(wheel) => wheel.clone(),
                None => builder.wheel(source, &tar, index, &mut decided.executed)?,
            };
            fits(&wheel)
                .map_err(|error| BuildError::Unfit { package: source.name.clone(), reason: error.to_string() })?;
            let installed = SourceWheel { direct_url: source.direct_url.clone(), ..wheel.clone() };
            decided.wheels[index].insert(source.name.clone(), installed);
            made.push(wheel);
        }
    }
    Ok(())
}

struct Builder<'a> {
    means: &'a Means<'a>,
    place: BuildPlace,
    /// Whether a build on this machine has no network.
    alone: bool,
    cache: WheelCache,
    podman: Option<Podman>,
    /// That of each target, once it is needed.
    environments: Vec<Option<Environment>>,
}

/// What a build runs in.
enum Environment {
    Container(Image),
    Host(Host),
}

impl Environment {
    fn build(
        &self,
        run: &Run<'_>,
        order: &Order,
        tar: &mut File,
        directory: &Path,
        check: Check<'_>,
    ) -> Result<PathBuf, BuildError> {
        match self {
            Self::Container(image) => image.build(run, order, tar, directory, check),
            Self::Host(host) => host.build(run, order, tar, directory, check),
        }
    }
}

impl Builder<'_> {
    fn python(&self, source: &Pending, index: usize) -> Result<Python, Error> {
        let target = &self.means.targets[index];
        python_of(target)?.ok_or_else(|| {
            super::SourceError::NoPython { package: source.name.clone(), platform: target.platform.name.clone() }.into()
        })
    }

    /// The wheel of a source for a target, from the cache or newly built.
    fn wheel(
        &mut self,
        source: &Pending,
        tar: &SourceTar,
        index: usize,
        executed: &mut Vec<String>,
    ) -> Result<SourceWheel, Error> {
        let target = &self.means.targets[index];
        let key = self.key(tar, index, &self.surroundings(source, index)?);
        let read = |path: &Path| read(source, path);
        if let Some(path) = self.cache.get(&key) {
            return read(&path);
        }
        if !runs(self.place, target.architecture) {
            let (package, architecture) = (source.name.clone(), target.architecture.to_string());
            return Err(match self.place {
                BuildPlace::Container => BuildError::Architecture { package, architecture }.into(),
                BuildPlace::Host => BuildError::HostArchitecture { package, architecture }.into(),
            });
        }
        let installed = Installed::of(target, &(self.means.infos)(index)?);
        installed.check(&source.name, &tar.requires)?;
        self.prepare(index)?;
        let Some(environment) = &self.environments[index] else { return Err(BuildError::Interrupted.into()) };
        let failed = |error| BuildError::Io { package: source.name.clone(), source: error };
        let directory = self.cache.build_directory().map_err(failed)?;
        (self.means.on_event)(Event::SourceStarted {
            name: source.name.clone(),
            platform: target.platform.name.clone(),
        });
        let python = self.python(source, index)?;
        let run = Run {
            package: &source.name,
            python: &format!("{}/{}", self.prefix(), python.executable),
            group: self.place == BuildPlace::Host,
            epoch: self.epoch(),
            interrupted: &self.means.request.interrupted,
        };
        let mut file = File::open(&tar.path).map_err(failed)?;
        let path = environment.build(&run, &tar.order, &mut file, directory.path(), &|requires| {
            installed.check(&source.name, requires)
        })?;
        // Nothing is kept that is no wheel of this package.
        read(&path)?;
        let path = self.cache.put(&key, directory, &path).map_err(failed)?;
        let wheel = read(&path)?;
        (self.means.on_event)(Event::SourceFinished {
            name: source.name.clone(),
            platform: target.platform.name.clone(),
            wheel: wheel.file_name.clone(),
        });
        let (where_built, network) = match environment {
            Environment::Container(_) => ("in a container", String::new()),
            Environment::Host(host) => ("on the host", format!(", {}", host.network())),
        };
        executed.push(format!(
            "{} {}: {} built {} {where_built} for linux/{}{network}",
            source.name, wheel.version, tar.order.backend, wheel.file_name, target.architecture
        ));
        Ok(wheel)
    }

    fn epoch(&self) -> i64 {
        self.means.request.epoch.unwrap_or(CONSTANT_TIME)
    }

    /// Where the environment is when a build runs in it.
    fn prefix(&self) -> String {
        match self.place {
            BuildPlace::Container => self.means.configuration.prefix.as_str().to_owned(),
            BuildPlace::Host => Host::prefix_in(&self.cache.host_directory()).to_string_lossy().into_owned(),
        }
    }

    /// What is around the environment, and in what a build finds: the digest of the base image, or this machine's system and
    /// whether there is a network. So
    /// nothing that was built on a machine is ever taken for what a container makes.
    fn surroundings(&self, source: &Pending, index: usize) -> Result<String, Error> {
        match self.place {
            BuildPlace::Container => match (self.means.base)(index)? {
                Some(base) => Ok(base),
                None => Err(BuildError::Scratch { package: source.name.clone() }.into()),
            },
            BuildPlace::Host => Ok(format!("host, alone: {}, {}", self.alone, system())),
        }
    }

    /// The hash of everything that a wheel depends on.
    fn key(&self, tar: &SourceTar, index: usize, surroundings: &str) -> String {
        let target = &self.means.targets[index];
        let mut packages: Vec<String> = target
            .packages
            .iter()
            .map(|package| match package.sha256() {
                Some(sha256) => sha256.to_string(),
                None => package.name(),
            })
            .collect();
        packages.sort();
        let order = serde_json::to_string(&tar.order).unwrap_or_default();
        let parts = [
            "pixi-oci wheel 1".to_owned(),
            DRIVER.to_owned(),
            tar.diff_id.clone(),
            order,
            surroundings.to_owned(),
            self.prefix(),
            target.platform.subdir.to_string(),
            self.epoch().to_string(),
            packages.join(","),
        ];
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Sha256::from_bytes(hasher.finalize().into()).to_string()
    }

    /// Makes a target's environment, once.
    fn prepare(&mut self, index: usize) -> Result<(), Error> {
        if self.environments[index].is_some() {
            return Ok(());
        }
        if self.means.request.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if self.place == BuildPlace::Host {
            let io = |source| Error::Io { action: "make", path: self.cache.host_directory(), source };
            let host = Host::new(self.cache.host_directory(), self.alone).map_err(io)?;
            (self.means.install)(index, &host.prefix(), &host.activate())?;
            (self.means.on_event)(Event::Warning(format!(
                "sources are built on this machine, {}; they can read what you can",
                host.network()
            )));
            self.environments[index] = Some(Environment::Host(host));
            return Ok(());
        }
        if self.podman.is_none() {
            let mark = sha2::Sha256::digest(self.means.request.cache_dir.as_os_str().as_encoded_bytes());
            let podman = Podman::new(Sha256::from_bytes(mark.into()).to_string())?;
            podman.sweep();
            self.podman = Some(podman);
        }
        let Some(podman) = &self.podman else { return Ok(()) };
        let made = tempfile::Builder::new().prefix("environment-").tempdir_in(self.means.scratch);
        let directory =
            made.map_err(|source| Error::Io { action: "write to", path: self.means.scratch.into(), source })?;
        let architecture = self.means.targets[index].architecture.to_string();
        (self.means.environment)(index, &directory.path().join(podman.directory(&architecture)), podman.label())?;
        let image = podman.image(directory.path(), ENVIRONMENT_TAG, &architecture)?;
        self.environments[index] = Some(Environment::Container(image));
        Ok(())
    }
}

/// Reads a wheel, which must be one of the source.
fn read(source: &Pending, path: &Path) -> Result<SourceWheel, Error> {
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = source.version.clone().or_else(|| file_name.split('-').nth(1).map(str::to_owned));
    let version = version.ok_or(BuildError::Name { package: source.name.clone(), name: file_name })?;
    SourceWheel::read(path, &source.python_name, &version, WheelOrigin::Built, None)
}

/// Whether this machine runs programs of an architecture, itself or, in containers, by QEMU.
fn runs(place: BuildPlace, architecture: Architecture) -> bool {
    match (pixi_oci_podman::runs(&architecture.to_string()), place) {
        (Runs::Natively, _) | (Runs::Emulated, BuildPlace::Container) => true,
        (Runs::No, _) | (Runs::Emulated, BuildPlace::Host) => false,
    }
}
