//! Making the lock file: for `pixi-oci lock`, and for a build that finds none.

pub mod image_lock;
pub mod locked;

use std::path::PathBuf;

use pixi_oci_cachedir::Sealed;
use pixi_oci_lock::{LockFile, LockOptions, NewLock, PackageChange};
use pixi_oci_platform::cannot;
use pixi_oci_workspace::Workspace;
use serde::Serialize;

use crate::{Error, event::Event, inputs::Inputs, inputs::LockUse, project::Declared, session::Session};

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockReport {
    pub lock_file: PathBuf,
    /// Whether the new one is different from what was there.
    pub changed: bool,
    pub written: bool,
    pub changes: Vec<PackageChange>,
}

/// Locks a workspace. Without `write` the new lock file is only compared with the present one. An error leaves
/// that as it was.
pub fn lock(workspace: &Workspace, inputs: &Inputs, write: bool, session: &Session) -> Result<LockReport, Error> {
    let new = solve(workspace, inputs, session)?;
    let written = write && new.is_changed;
    if written {
        new.write(&workspace.lock_path())?;
    }
    Ok(LockReport { lock_file: workspace.lock_path(), changed: new.is_changed, written, changes: new.changes })
}

/// The workspace's lock file; if there is none and the inputs allow it, a new one.
///
/// A stale one is not made anew: somebody chose what is in it.
pub fn lock_file(declared: &Declared, session: &Session) -> Result<LockFile, Error> {
    let workspace = &declared.workspace;
    if declared.inputs.lock_use == LockUse::Create && !workspace.lock_path().exists() {
        session.emit(Event::Locking { path: workspace.lock_path() });
        solve(workspace, &declared.inputs, session)?.write(&workspace.lock_path())?;
    }
    Ok(LockFile::of(workspace)?)
}

/// What was not used for longest of the indexes of channels goes when they take more.
const MAX_REPODATA: u64 = 2 << 30;
const REPODATA: &str = "repodata";

fn solve(workspace: &Workspace, inputs: &Inputs, session: &Session) -> Result<NewLock, Error> {
    let cache = &session.caches.dir;
    // What is left over costs room only.
    let _ = cache.trim_part(REPODATA, MAX_REPODATA);
    let sealed = Sealed::new(cache, REPODATA);
    sealed.check().map_err(cannot("use the cache", cache.to_path_buf()))?;
    let _held = cache.hold(&cache.join(REPODATA));
    let interrupted = || session.check().is_err();
    let options = LockOptions {
        cache_dir: cache,
        offline: session.offline,
        assumed: &inputs.virtual_packages,
        downloads: session.resources.downloads,
        solves: session.resources.solves,
        now: inputs.now,
        interrupted: &interrupted,
        on_solving: &|environment, platform| {
            session.emit(Event::Solving { environment: environment.to_owned(), platform: platform.to_owned() })
        },
    };
    let locked = session.run(pixi_oci_lock::lock(workspace, session.client()?, options))?;
    // Without the list, all of it is fetched again.
    let _ = sealed.seal();
    locked.map_err(|error| if error.is_interrupted() { Error::Interrupted } else { error.into() })
}
