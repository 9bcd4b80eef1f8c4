//! Everything a build depends on. Nothing else is read: not the environment, not the clock.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use pixi_oci_image::Architecture;
use pixi_oci_registry::{RegistryAccess, RepositoryRef};
use pixi_oci_workspace::{OciConfig, VirtualPackage};

/// What to build, of what, and with which means.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The workspace's directory or manifest.
    pub workspace: PathBuf,
    /// Whether the lock file is used as it is, instead of only if it is true to the manifest.
    pub frozen: bool,
    /// The environment; the configured one, else `default`, if `None`.
    pub environment: Option<String>,
    /// The architectures; the configured ones, else all that the environment is locked for, if empty.
    pub architectures: Vec<Architecture>,
    /// Names of locked platforms, where an architecture has several.
    pub platforms: Vec<String>,
    /// The destination; `oci:dist/oci` in the workspace if `None`.
    pub output: Option<String>,
    /// What was said on the command line; it wins over `[tool.pixi-oci]`.
    pub overrides: OciConfig,
    /// Virtual packages of the command line and of `CONDA_OVERRIDE_*`.
    pub virtual_packages: Vec<VirtualPackage>,
    /// The base image's glibc, where it cannot or should not be looked up.
    pub base_glibc: Option<(u32, u32)>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// What an image says of how it was made, to make it again.
    pub recorded: Option<crate::Recorded>,
    /// How registries are reached, and who we are there.
    pub registries: RegistryAccess,
    /// Wheels of locked sources that were built elsewhere.
    pub wheels: Vec<PathBuf>,
    /// Where other sources may be built, which runs their code; `None`: nowhere. Only the command line says so, never a
    /// file of the workspace.
    pub build_sdists: Option<BuildPlace>,
    /// Our cache.
    pub cache_dir: PathBuf,
    /// How many bytes of layers are kept there for later builds; with 0 none are kept, and none are taken.
    pub layer_cache: u64,
    /// How many bytes of downloaded archives are kept there when the build is done.
    pub archive_cache: u64,
    /// Published images whose layers are taken.
    pub cache_from: Vec<RepositoryRef>,
    /// Whether only the cache and local files may be used.
    pub offline: bool,
    /// How many archives are fetched at a time.
    pub downloads: NonZeroUsize,
    /// Whether a missing lock file is made, as `pixi install` does it.
    pub may_lock: bool,
    /// With what it is then made.
    pub lock_means: crate::LockMeans,
    /// The present, for `exclude-newer = "7d"` in a new lock file. Nothing in an image depends on it.
    pub now: jiff::Timestamp,
    /// How many layers are made at a time.
    pub threads: usize,
    /// Set by somebody else when the build is to end: it then fails with [`Error::Interrupted`](crate::Error).
    pub interrupted: Arc<AtomicBool>,
    /// Bytes of unpacked files that may wait in memory.
    pub memory: usize,
}

/// Why there is nothing to build.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// An `arch` that is none.
    #[error("{text:?} is no architecture that images can be made for; there are amd64 and arm64")]
    Architecture {
        /// As configured.
        text: String,
    },
    /// Two platforms of one architecture.
    #[error(
        "platforms {first} and {second} are both for {architecture}, and an index holds one image an architecture; build them one at a time with --platform and different outputs"
    )]
    TwoOfOneArchitecture {
        /// A platform.
        first: String,
        /// The other one.
        second: String,
        /// Their architecture.
        architecture: Architecture,
    },
    /// The environment has no linux platform.
    #[error(
        "environment `{environment}` is not locked for linux-64 or linux-aarch64; add one to `platforms` and run `pixi lock`"
    )]
    NoLinux {
        /// The environment.
        environment: String,
    },
    /// A destination that holds one image.
    #[error(
        "{destination} holds one image, but {images} would be built; choose one with --arch, or write to oci-archive:"
    )]
    OneImage {
        /// The destination.
        destination: String,
        /// How many there would be.
        images: usize,
    },
    /// A port, mode or compression that is none.
    #[error("{setting}: {text:?} {reason}")]
    Setting {
        /// The key.
        setting: &'static str,
        /// As configured.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

/// Where sources are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildPlace {
    /// In rootless podman: without a network, and without a file of this machine.
    Container,
    /// On this machine, as the user, who has to trust the source: the build can read what the user can.
    Host,
}
