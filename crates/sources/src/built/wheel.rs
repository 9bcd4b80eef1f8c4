//! One source, for one target.

use std::path::{Path, PathBuf};

use pixi_oci_package::Python;
use pixi_oci_pipeline::{SourceWheel, is_unpinned};
use pixi_oci_platform::{Links, open};
use pixi_oci_project::{BuildPlace, Event, Target};
use pixi_oci_wheel::check_tags;
use tempfile::TempDir;

use super::{
    BuildError, Builds, Need, Pending,
    builds::{Environment, Job},
    conversation::Run,
    host::network,
    read, runs,
    tree::SourceTar,
};
use crate::SourceError;

impl Builds<'_> {
    /// The wheel of a source for a target, from the cache or newly built, or what is needed to build it.
    pub(super) fn wheel(
        &mut self,
        job: &Job,
        tar: &SourceTar,
        index: usize,
    ) -> Result<Result<SourceWheel, Need>, SourceError> {
        let tools = self.tools_for(&job.source, index)?;
        loop {
            match self.attempt(job, tar, index, tools) {
                Err(SourceError::Build(error)) => match *error {
                    BuildError::Requires { package, missing } => self.resolve(package, missing, tools)?,
                    error => return Err(error.into()),
                },
                result => return result,
            }
        }
    }

    /// The position of the target of [`Means::tools`](super::Means::tools) that builds for a target of the project run in.
    fn tools_for(&self, source: &Pending, index: usize) -> Result<usize, BuildError> {
        let (target, tools) = (&self.means.project.targets[index], &self.means.tools);
        let same = |tool: &Target| tool.platform.subdir == target.platform.subdir;
        tools.targets.iter().position(same).ok_or_else(|| BuildError::Project {
            package: source.name.clone(),
            reason: format!(
                "its build environment `{}` is not locked for {}",
                tools.configuration.environment, target.platform.name
            ),
        })
    }

    /// The same, with what is pinned now.
    fn attempt(
        &mut self,
        job: &Job,
        tar: &SourceTar,
        index: usize,
        tools: usize,
    ) -> Result<Result<SourceWheel, Need>, SourceError> {
        let (source, target) = (&job.source, &self.means.project.targets[index]);
        let python = python_of(source, target)?;
        let fits = |wheel: &SourceWheel| check_tags(&wheel.file_name, &python, target.platform.subdir, target.glibc());
        if let Some(wheel) = job.made.iter().find(|wheel| fits(wheel).is_ok()) {
            return Ok(Ok(wheel.clone()));
        }
        let index = tools;
        let key = match self.surroundings(source, index)? {
            Some(surroundings) => {
                self.key(tar, index, &surroundings, &self.pins.wheels(&self.means.tools.targets[index])?)
            }
            None => return Ok(Err(Need::Base(index))),
        };
        // The key does not say what packages are that the lock file has no sha256 of.
        let unpinned = target.packages.iter().chain(&self.means.tools.targets[index].packages).any(is_unpinned);
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
        self.means.session.emit(Event::SourceStarted { package: name, platform });
        let check = |requires: &[String]| installed.check(&source.name, requires);
        let run = Run {
            package: &source.name,
            python: &format!("{}/{}", self.prefix(), python.executable),
            group: self.place == BuildPlace::Host,
            epoch: self.epoch(),
            interrupted: &self.means.session.cancelled,
            order: &tar.order,
            directory: directory.path(),
            check: &check,
        };
        let mut file = open(&tar.path, Links::Refuse).map_err(failed)?;
        let path = match environment {
            Environment::Container(image) => {
                let podman = self.podman.as_ref().ok_or(SourceError::Interrupted)?;
                podman.build(image, &run, &mut file)?
            }
            Environment::Host(host) => host.build(&run, &mut file)?,
        };
        Ok(Ok((directory, path)))
    }

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
        self.means.session.emit(Event::SourceFinished { package: name, platform, wheel: wheel.file_name.clone() });
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
}

fn python_of(source: &Pending, target: &Target) -> Result<Python, SourceError> {
    target
        .python()?
        .ok_or_else(|| SourceError::NoPython { package: source.name.clone(), platform: target.platform.name.clone() })
}
