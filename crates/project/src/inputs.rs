//! What is asked of a workspace: everything that its files do not say.

use std::path::PathBuf;

use pixi_oci_image::Architecture;
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::{OciConfig, VirtualPackage};

use crate::{recorded::Recorded, version::VersionFacts};

/// The command line's and the environment's part of a build. Nothing else is read: not the environment, not the clock.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub lock_use: LockUse,
    /// The environment; the configured one, else `default`, if `None`.
    pub environment: Option<String>,
    /// The architectures; the configured ones, else all that the environment is locked for, if empty.
    pub architectures: Vec<Architecture>,
    /// Names of locked platforms, where an architecture has several.
    pub platforms: Vec<String>,
    /// Settings of the command line, which win over `[tool.pixi-oci]`.
    pub overrides: OciConfig,
    /// What the machines that run the image are assumed to have: of the command line and of `CONDA_OVERRIDE_*`.
    pub virtual_packages: Vec<VirtualPackage>,
    pub sources: SourceInputs,
    pub provenance: ProvenanceInputs,
    /// Published images whose layers are taken.
    pub cache_from: Vec<RepositoryRef>,
    /// The present, for `exclude-newer = "7d"`. Nothing in an image depends on it.
    pub now: jiff::Timestamp,
}

/// How far the lock file is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockUse {
    /// It has to be up to date with the manifest. A missing one is made, as `pixi install` does it.
    #[default]
    Create,
    /// It has to be there and up to date.
    Locked,
    Frozen,
}

/// What is done about packages that are locked as sources.
#[derive(Debug, Clone, Default)]
pub struct SourceInputs {
    /// Wheels of locked sources that were built elsewhere.
    pub wheels: Vec<PathBuf>,
    /// Where other sources may be built, which runs their code; `None`: nowhere. Only the command line decides it, never a
    /// file of the workspace.
    pub build: Option<BuildPlace>,
    /// Whether uv finds what builds need and no environment has.
    pub resolve: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildPlace {
    /// In rootless podman: without a network, and without a file of this machine.
    Container,
    /// On this machine, as the user, who has to trust the source: the build can read what the user can.
    Host,
}

/// When and of what an image is made.
#[derive(Debug, Clone, Default)]
pub struct ProvenanceInputs {
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    pub version: VersionFacts,
    /// What an image records of its build, to build it again.
    pub recorded: Option<Recorded>,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{text:?} is no architecture that images can be made for; there are amd64 and arm64")]
    Architecture { text: String },
    #[error(
        "platforms {first} and {second} are both for {architecture}, and an index holds one image an architecture; build them one at a time with --platform and different outputs"
    )]
    TwoOfOneArchitecture { first: String, second: String, architecture: Architecture },
    #[error(
        "environment `{environment}` is not locked for linux-64 or linux-aarch64; add one to `platforms` and run `pixi lock`"
    )]
    NoLinux { environment: String },
    #[error(
        "{destination} holds one image, but {images} would be built; choose one with --arch, or write to oci-archive:"
    )]
    OneImage { destination: String, images: usize },
    #[error("{setting}: {text:?} {reason}")]
    Setting { setting: &'static str, text: String, reason: String },
}
