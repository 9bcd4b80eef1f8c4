//! Pixi's files as they are written: the workspace manifest (`pixi.toml`, `pyproject.toml`), and pixi's configuration.
//!
//! ```text
//! Workspace ─▶ environments, features, tasks, activation, platforms, channels, requirements
//! ```
//!
//! Nothing is solved, downloaded or asked of the host. Which packages an environment gets is `lock`'s business.

mod channel;
mod config;
mod environment;
mod error;
mod exclude_newer;
mod files;
mod manifest;
#[allow(missing_docs)]
mod oci;
mod platform;
mod pypi;
mod requirement;
mod task;
mod toml;

pub use channel::ManifestChannel;
pub use config::{ConfigPlaces, PixiConfig, ProxyConfig, PypiConfig, RepodataConfig, RepodataForms};
pub use environment::Activation;
pub use error::Error;
pub use exclude_newer::{Cutoff, ExcludeNewer};
pub use files::{is_workspace, read_text, write_atomically};
pub use manifest::{
    About, DEFAULT_ENVIRONMENT, Deferred, EnvironmentManifest, Feature, FeatureOptions, Requirements, Solving, Target,
    Workspace,
};
pub use oci::{
    CompressionAlgorithm, CompressionSetting, ImageTest, Include, OciConfig, Port, Protocol, RegistryLogin, setting,
    with_bases, write_manifest,
};
pub use platform::{ManifestPlatform, TargetPlatform, VirtualPackage};
pub use pypi::{
    DEFAULT_PYPI_INDEX, FindLinks, Packages, PypiOptions, PypiRequirement, PypiSource, normalized, requires_dist,
};
pub use requirement::{GitReference, Requirement, SourceLocation};
pub use task::{TaskArgv, TaskManifest, split_plain};
use toml::suggestion;
pub use toml::{ManifestError, listed, meant};
