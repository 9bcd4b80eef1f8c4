//! `--build-sdists`: sources become wheels with the environment's own Python, in a container without a network or, where
//! somebody said so, on this machine.
//!
//! Each source is built once: the wheel is kept under the hash of everything that it depends on. A pure wheel serves all
//! architectures; a binary one is built for each, if this machine can run it.

mod builds;
mod cache;
mod container;
mod conversation;
mod error;
mod git;
mod host;
mod key;
mod pins;
mod requires;
mod resolve;
mod resolving;
mod tree;
mod wheel;

use std::path::{Path, PathBuf};

use pixi_oci_image::Architecture;
use pixi_oci_lock::{ArchiveLocation, Sha256};
use pixi_oci_podman::Runs;
use pixi_oci_wheel::DirectUrl;

pub use self::{builds::Builds, error::BuildError};
use super::SourceError;
use pixi_oci_pipeline::{SourceWheel, WheelSource};
use pixi_oci_project::{BuildPlace, Project, Session};

#[derive(Debug, Clone)]
pub struct Pending {
    /// [`LockedPackage::name`](pixi_oci_lock::LockedPackage::name)
    pub name: String,
    /// The PEP 503 name.
    pub python_name: String,
    pub version: Option<String>,
    pub kind: PendingKind,
    /// What its `direct_url.json` will say.
    pub direct_url: Option<DirectUrl>,
    /// Positions of the targets that have it.
    pub targets: Vec<usize>,
}

#[derive(Debug, Clone)]
pub enum PendingKind {
    Archive(ArchiveLocation, Option<Sha256>),
    /// A git repository with its commit.
    Git(url::Url),
    Directory(PathBuf),
}

pub struct Means<'a> {
    pub project: &'a Project,
    /// The environment that builds run in: that of the project, or the one that `build-environment` names.
    pub tools: &'a Project,
    pub session: &'a Session,
    pub scratch: &'a Path,
}

/// What a build needs to go on. Each names the position of a target of [`Means::tools`].
#[derive(Debug)]
pub enum Need {
    /// The digest of its base image: [`Builds::base`].
    Base(usize),
    /// What its conda packages say about themselves: [`Builds::infos`].
    Infos(usize),
    /// Its packages, those of [`Builds::target`], written to a place: [`Builds::environment`].
    Environment(usize, Place),
}

/// Where an environment is to be written.
#[derive(Debug)]
pub enum Place {
    /// As an image, into a directory that becomes an OCI layout.
    Layout { directory: PathBuf, tag: &'static str },
    /// As a prefix on this machine, with a script for shells that sets it up.
    Prefix { prefix: PathBuf, activate: PathBuf },
}

/// The tag of images that builds run in.
const ENVIRONMENT_TAG: &str = "environment";

/// Reads a wheel, which must be one of the source.
fn read(source: &Pending, path: &Path) -> Result<SourceWheel, SourceError> {
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = source.version.clone().or_else(|| file_name.split('-').nth(1).map(str::to_owned));
    let version = version.ok_or(BuildError::Name { package: source.name.clone(), name: file_name })?;
    Ok(SourceWheel::read(path, &source.python_name, &version, WheelSource::Built, None)?)
}

/// Whether this machine runs programs of an architecture, itself or, in containers, by QEMU.
fn runs(place: BuildPlace, architecture: Architecture) -> bool {
    if place == BuildPlace::Host && !pixi_oci_platform::IS_LINUX {
        return false;
    }
    match (pixi_oci_podman::runs(&architecture.to_string()), place) {
        (Runs::Natively, _) | (Runs::Emulated, BuildPlace::Container) => true,
        (Runs::No, _) | (Runs::Emulated, BuildPlace::Host) => false,
    }
}
