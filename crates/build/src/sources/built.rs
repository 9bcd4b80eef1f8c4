//! `--build-sdists`: sources become wheels in a container without a network, with the environment's own Python.
//!
//! Each source is built once: the wheel is kept under the hash of everything that it depends on. A pure wheel serves all
//! architectures; a binary one is built for each, if this machine can run it.

mod cache;
mod container;
mod error;
mod git;
mod requires;
mod tree;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use pixi_oci_image::Architecture;
use pixi_oci_package::DirectUrl;
use pixi_oci_package::{PackageInfo, Python, check_tags};
use pixi_oci_podman::Runs;
use pixi_oci_resolve::{ArchiveLocation, Client, Sha256};
use sha2::Digest as _;

pub use self::error::BuildError;
use self::{
    cache::WheelCache,
    container::{DRIVER, Image, Order, Podman, Run},
    requires::Installed,
    tree::SourceTar,
};
use super::{Decided, SourceWheel, WheelOrigin, injected::glibc, python_of};
use crate::{BuildRequest, Error, Event, OnEvent, configuration::Configuration, layers::CONSTANT_TIME, target::Target};

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
    let mut builder =
        Builder { means, cache, podman: None, environments: means.targets.iter().map(|_| None).collect() };
    for source in &pending {
        let tar = tree::source_tar(source, means)?;
        let mut made: Vec<SourceWheel> = Vec::new();
        // A machine's own architecture first: a pure wheel that is built there is for the others, too.
        let mut order = source.targets.clone();
        order.sort_by_key(|index| !runs(means.targets[*index].architecture));
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
    cache: WheelCache,
    podman: Option<Podman>,
    /// The image of each target, once it is needed.
    environments: Vec<Option<Image>>,
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
        let Some(base) = (self.means.base)(index)? else {
            return Err(BuildError::Scratch { package: source.name.clone() }.into());
        };
        let key = self.key(tar, index, &base);
        let read = |path: &Path| read(source, path);
        if let Some(path) = self.cache.get(&key) {
            return read(&path);
        }
        if !runs(target.architecture) {
            let architecture = target.architecture.to_string();
            return Err(BuildError::Architecture { package: source.name.clone(), architecture }.into());
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
            python: &format!("{}/{}", self.means.configuration.prefix.as_str(), python.executable),
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
        executed.push(format!(
            "{} {}: {} built {} in a container for linux/{}",
            source.name, wheel.version, tar.order.backend, wheel.file_name, target.architecture
        ));
        Ok(wheel)
    }

    fn epoch(&self) -> i64 {
        self.means.request.epoch.unwrap_or(CONSTANT_TIME)
    }

    /// The hash of everything that a wheel depends on.
    fn key(&self, tar: &SourceTar, index: usize, base: &str) -> String {
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
            base.to_owned(),
            self.means.configuration.prefix.as_str().to_owned(),
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

    /// Makes the image of a target's environment, once.
    fn prepare(&mut self, index: usize) -> Result<(), Error> {
        if self.environments[index].is_some() {
            return Ok(());
        }
        if self.means.request.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
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
        self.environments[index] = Some(podman.image(directory.path(), ENVIRONMENT_TAG, &architecture)?);
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

/// Whether this machine runs programs of an architecture, itself or by QEMU.
fn runs(architecture: Architecture) -> bool {
    pixi_oci_podman::runs(&architecture.to_string()) != Runs::No
}
