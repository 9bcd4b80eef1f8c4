//! From a workspace, environment and platform to the exact packages, and to their verified archives on this machine.
//!
//! ```text
//! Workspace ─▶ LockFile ─▶ LockedPlatform ─▶ LockedPackage… ─▶ FetchItem… ─▶ CachedArchive…
//! ```
//!
//! Nothing is solved: the lock file is the input. Nothing is asked of the host either: what the target has is what the
//! manifest, the lock file and the caller say. Nor is the environment read: logins, proxies and pixi's configuration come
//! in as [`ClientSettings`].

mod activation;
mod argv;
mod cache;
mod channel;
mod client;
mod config;
mod config_reader;
mod config_writer;
mod declared;
mod download;
mod editable;
mod error;
mod exclude_newer;
mod feature;
mod fetch;
mod locate;
mod locked_package;
mod lockfile;
mod locking;
mod manifest_error;
mod manifest_platform;
mod pixi_config;
mod platform;
mod pypi_options;
mod pypi_requirement;
mod pyproject;
mod python_project;
mod redact;
mod requirement;
mod requirements;
mod retry;
mod satisfies;
mod section;
mod sha256;
mod solve;
mod system_requirements;
mod task;
mod virtual_package;
mod wanted;
mod workspace;

pub use activation::Activation;
pub use argv::split_plain;
pub use cache::{ArchiveCache, CachedArchive, Held};
pub use channel::ManifestChannel;
pub use client::{Client, ClientSettings, CredentialFiles, Patience, Proxies, S3Environment, S3Settings, Tls};
pub use config::{CompressionAlgorithm, CompressionSetting, Include, OciConfig, Port, Protocol};
pub use config_writer::{with_bases, write_manifest};
pub use declared::{Deferred, FeatureOptions, Requirements, Solving};
pub use error::Error;
pub use exclude_newer::{Cutoff, ExcludeNewer};
pub use feature::{DEFAULT as DEFAULT_ENVIRONMENT, EnvironmentManifest, Feature, Target};
pub use fetch::{ArchiveIdentity, FetchEvent, FetchItem, FetchOptions};
pub use locate::is_workspace;
pub use locked_package::{ArchiveLocation, LockedPackage, LockedWheel, PypiSourceKind, WheelOrigin};
pub use lockfile::LockFile;
pub use locking::{Change, LockError, LockEvent, LockOptions, NewLock, lock};
pub use manifest_error::ManifestError;
pub use manifest_platform::ManifestPlatform;
pub use pixi_config::{
    ConfigPlaces, PixiConfig, ProxyConfig, PypiConfig, RepodataConfig, RepodataForms, S3Bucket, TlsRootCerts,
};
pub use platform::{LockedPlatform, PlatformWanted};
pub use pypi_options::{DEFAULT_PYPI_INDEX, FindLinks, Packages, PypiOptions};
pub use pypi_requirement::{PypiRequirement, PypiSource};
pub use redact::{canonical_channel, canonical_url, redact, redact_text, without_logins};
pub use requirement::{GitReference, Requirement, SourceLocation};
pub use requirements::{VirtualRequirement, minimum, requirements};
pub use retry::RetryPolicy;
pub use satisfies::{Difference, RequiredBy, What, differences};
pub use sha256::{ParseSha256Error, Sha256};
pub use solve::{Repodata, SolveError, SolveInput, conda_subset};
pub use task::{TaskArgv, TaskManifest};
/// For the addresses in [`ClientSettings`].
pub use url::Url;
pub use virtual_package::VirtualPackage;
pub use wanted::{Wanted, wanted, wanted_by_group};
pub use workspace::Workspace;
