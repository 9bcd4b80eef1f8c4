//! Making the lock file: for `pixi-oci lock`, and for a build that finds none.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pixi_oci_lock::{Change, LockEvent, LockFile, LockOptions, NewLock};
use pixi_oci_net::Client;
use pixi_oci_workspace::{VirtualPackage, Workspace};
use serde::Serialize;

use crate::{BuildRequest, Error, Event, OnEvent};

/// What to lock, and with which means.
#[derive(Debug, Clone)]
pub struct LockRequest {
    /// The workspace's directory or manifest.
    pub workspace: PathBuf,
    /// Our cache.
    pub cache_dir: PathBuf,
    /// Whether only the cache and local files may be used.
    pub offline: bool,
    /// Virtual packages of the command line and of `CONDA_OVERRIDE_*`.
    pub virtual_packages: Vec<VirtualPackage>,
    /// With which means.
    pub means: LockMeans,
    /// The present, for `exclude-newer = "7d"`.
    pub now: jiff::Timestamp,
    /// Whether the file is written, or only compared with the present one.
    pub write: bool,
    /// Set by somebody else when the work is to end: it then fails with [`Error::Interrupted`].
    pub interrupted: Arc<AtomicBool>,
}

/// With which means a lock file is made.
#[derive(Debug, Clone)]
pub struct LockMeans {
    /// So many requests at a time.
    pub downloads: NonZeroUsize,
    /// So many environments and platforms at a time.
    pub solves: NonZeroUsize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockReport {
    /// The lock file.
    pub lock_file: PathBuf,
    /// Whether the new one is different from what was there.
    pub changed: bool,
    /// Whether it was written.
    pub written: bool,
    /// The packages that are different.
    pub changes: Vec<PackageChange>,
}

/// A package that is another one than before, came or went.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageChange {
    /// The environment.
    pub environment: String,
    /// The platform, by the manifest's name.
    pub platform: String,
    /// The conda name, or `pypi:` and the Python one.
    pub package: String,
    /// Version and build before; none if it was not there.
    pub before: Option<String>,
    /// Version and build now; none if it is gone.
    pub after: Option<String>,
}

/// Locks a workspace as the request says.
///
/// # Errors
///
/// See [`Error`]. The present lock file is then as it was.
pub fn lock(request: &LockRequest, client: &Client, on_event: OnEvent<'_>) -> Result<LockReport, Error> {
    let workspace = Workspace::open(&request.workspace)?;
    let new = solve(&workspace, request, client, on_event)?;
    let written = request.write && new.is_changed;
    if written {
        new.write(&workspace.lock_path)?;
    }
    Ok(LockReport {
        lock_file: workspace.lock_path,
        changed: new.is_changed,
        written,
        changes: new.changes.into_iter().map(PackageChange::from).collect(),
    })
}

/// The workspace's lock file; if there is none and the request allows it, a new one.
///
/// A stale one is not made anew: what it says was chosen by somebody.
pub fn lock_file(
    workspace: &Workspace,
    request: &BuildRequest,
    client: &Client,
    on_event: OnEvent<'_>,
) -> Result<LockFile, Error> {
    match LockFile::of(workspace) {
        Err(pixi_oci_lock::Error::NoLockFile { path }) if request.may_lock => {
            on_event(Event::Locking { path });
            let request = LockRequest {
                workspace: request.workspace.clone(),
                cache_dir: request.cache_dir.clone(),
                offline: request.offline,
                virtual_packages: request.virtual_packages.clone(),
                means: request.lock_means.clone(),
                now: request.now,
                write: true,
                interrupted: request.interrupted.clone(),
            };
            solve(workspace, &request, client, on_event)?.write(&workspace.lock_path)?;
            Ok(LockFile::of(workspace)?)
        }
        other => Ok(other?),
    }
}

fn solve(
    workspace: &Workspace,
    request: &LockRequest,
    client: &Client,
    on_event: OnEvent<'_>,
) -> Result<NewLock, Error> {
    let interrupted = || request.interrupted.load(Ordering::Relaxed);
    let options = LockOptions {
        cache_dir: Path::new(&request.cache_dir),
        offline: request.offline,
        assumed: &request.virtual_packages,
        downloads: request.means.downloads,
        solves: request.means.solves,
        now: request.now,
        interrupted: &interrupted,
        on_event: &|LockEvent::Solving { environment, platform }| on_event(Event::Solving { environment, platform }),
    };
    let locked = crate::runtime()?.block_on(pixi_oci_lock::lock(workspace, client, options));
    locked.map_err(|error| if error.is_interrupted() { Error::Interrupted } else { error.into() })
}

impl From<Change> for PackageChange {
    fn from(change: Change) -> Self {
        let Change { environment, platform, package, before, after } = change;
        Self { environment, platform, package, before, after }
    }
}
