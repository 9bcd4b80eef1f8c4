//! The builds of all sources, one after the other.

use pixi_oci_platform::cannot;
use std::{collections::BTreeMap, sync::atomic::Ordering};

use pixi_oci_lock::LockedPackage;
use pixi_oci_package::PackageInfo;
use tempfile::TempDir;

use super::{
    ENVIRONMENT_TAG, Means, Need, Pending, Place,
    cache::WheelCache,
    container::Podman,
    host::{Host, network},
    pins::Pins,
    requires::Installed,
    runs,
    tree::{SourceTar, source_tar},
};
use crate::{Decided, SourceError};
use pixi_oci_pipeline::SourceWheel;
use pixi_oci_project::{BuildPlace, Event, Target};

/// Sources that are being built. It says what it needs, and is given it, until nothing is left:
/// [`proceed`](Self::proceed) builds as far as it can.
pub struct Builds<'a> {
    pub(super) decided: &'a mut Decided,
    pub(super) means: &'a Means<'a>,
    pub(super) place: BuildPlace,
    /// Whether a build on this machine has no network.
    pub(super) alone: bool,
    pub(super) cache: WheelCache,
    pub(super) podman: Option<Podman>,
    pub(super) pins: Pins,
    jobs: Vec<Job>,
    pub(super) known: BTreeMap<usize, TargetFacts>,
    /// A layout that is being written.
    layout: Option<TempDir>,
}

/// A source, and the targets that still lack its wheel, the next one last.
pub(super) struct Job {
    pub(super) source: Pending,
    tar: Option<SourceTar>,
    targets: Vec<usize>,
    pub(super) made: Vec<SourceWheel>,
}

#[derive(Default)]
pub(super) struct TargetFacts {
    /// The digest of its base image; `None` in it for `scratch`.
    pub(super) base: Option<Option<String>>,
    pub(super) installed: Option<Installed>,
    /// Pinned wheels that the environment gets besides its own packages.
    pub(super) pinned: Vec<LockedPackage>,
    pub(super) environment: Option<Environment>,
    pub(super) asked: Vec<String>,
}

pub(super) enum Environment {
    /// The identifier of its image.
    Container(String),
    Host(Host),
}

impl<'a> Builds<'a> {
    /// Takes what is pending, and waits until no other process builds.
    pub fn open(decided: &'a mut Decided, means: &'a Means<'a>) -> Result<Self, SourceError> {
        let cache = WheelCache::open(&means.session.caches.dir)
            .map_err(cannot("open", means.session.caches.dir.join("wheels")))?;
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
        let pins = Pins::read(&means.project.workspace.root)?;
        let known = BTreeMap::new();
        Ok(Self { decided, means, place, alone, cache, podman: None, pins, jobs, known, layout: None })
    }

    /// Builds until something is needed; with `None`, everything that was pending is built.
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
    pub fn infos(&mut self, target: usize, infos: &[PackageInfo]) -> Result<(), SourceError> {
        let of = &self.means.tools.targets[target];
        let mut installed = Installed::of(of, infos);
        let known = self.known.entry(target).or_default();
        known.pinned = installed.add(self.pins.wheels(of)?);
        known.installed = Some(installed);
        Ok(())
    }

    /// What a target's environment is written with: its own packages but for sources, and what is pinned for builds.
    pub fn target(&self, index: usize) -> Target {
        let mut target = self.means.tools.targets[index].clone();
        target.packages.retain(|package| matches!(package, LockedPackage::Conda(_) | LockedPackage::Wheel(_)));
        target.packages.extend(self.known.get(&index).into_iter().flat_map(|known| known.pinned.clone()));
        target
    }

    /// A target's locked packages are where they were to be written.
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

    /// Where a target's environment is to be written.
    pub(super) fn place(&mut self, index: usize) -> Result<Place, SourceError> {
        if self.means.session.cancelled.load(Ordering::Relaxed) {
            return Err(SourceError::Interrupted);
        }
        if self.place == BuildPlace::Host {
            let directory = self.cache.host_directory();
            std::fs::create_dir(&directory).map_err(cannot("make", &directory))?;
            self.means.session.emit(Event::Warning(format!(
                "sources are built on this machine, {}; they can read what you can",
                network(self.alone)
            )));
            return Ok(Place::Prefix { prefix: Host::prefix_in(&directory), activate: Host::activate_in(&directory) });
        }
        let scratch = self.means.scratch;
        let made = tempfile::Builder::new().prefix("environment-").tempdir_in(scratch);
        let made = made.map_err(cannot("write to", scratch))?;
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
