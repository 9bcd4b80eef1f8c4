//! `pixi.lock`: read, compared with the manifest, and written.
//!
//! ```text
//! pixi.lock ─▶ LockFile ─▶ LockedPlatform ─▶ LockedPackage…
//! Workspace ─▶ Wanted ─┬─ differences(lock file)         is it up to date?
//!                      └─ Repodata::solve ─▶ NewLock      what it should be
//! ```
//!
//! The host is asked nothing: what a target has is what the manifest, the lock file and the caller say. Only
//! [`lock()`] reads channels.

mod check;
mod error;
mod file;
mod sha256;
mod solve;
mod virtual_requirement;
mod wanted;
mod write;

pub use check::{Difference, differences, marker_environment};
pub use error::Error;
pub use file::{
    ArchiveLocation, LockFile, LockedPackage, LockedPlatform, LockedWheel, PlatformWanted, PypiSourceKind, WheelOrigin,
    normalize,
};
pub use sha256::{ParseSha256Error, Sha256};
pub use solve::SolveError;
use solve::{Repodata, SolveInput, conda_subset};
pub use virtual_requirement::{VirtualRequirement, minimum, requirements};
use wanted::wanted_by_group;
pub use wanted::{Wanted, wanted};
pub use write::{LockError, LockOptions, NewLock, PackageChange, lock};
