//! `--locked`, which is the default: the lock file must be true to the manifest.

use std::{fmt, path::PathBuf};

use pixi_oci_lock::{Difference, LockFile, LockedPlatform, differences};
use pixi_oci_workspace::Workspace;

use crate::{BuildRequest, Error, configuration::Configuration, target::Target, virtual_packages};

/// So many differences are told; the others are counted.
const SHOWN: usize = 20;

/// A lock file that is not what the manifest says now.
#[derive(Debug, thiserror::Error)]
pub struct Stale {
    /// The lock file.
    pub path: PathBuf,
    /// The environment it was compared for.
    pub environment: String,
    /// In what it differs, not empty.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, environment, differences } = self;
        write!(f, "{} is not up to date with the manifest for environment `{environment}`:", path.display())?;
        for difference in differences.iter().take(SHOWN) {
            write!(f, "\n  {difference}")?;
        }
        if let Some(more) = differences.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            write!(f, "\n  and {more} more")?;
        }
        write!(f, "\nrun `pixi lock` or `pixi-oci lock` to renew it, or say `--frozen` to use it as it is")
    }
}

/// The targets that `choose` gives, if the lock file may be used for them.
///
/// What a stale lock file lacks may be the very platform that is asked for, so its staleness is the better answer than
/// that it has no such platform.
pub fn checked(
    request: &BuildRequest,
    workspace: &Workspace,
    lock: &LockFile,
    configuration: &Configuration,
    choose: impl FnOnce() -> Result<Vec<Target>, Error>,
) -> Result<Vec<Target>, Error> {
    let environment = configuration.environment.as_str();
    if request.frozen || !workspace.environments.contains_key(environment) {
        return choose();
    }
    let targets = choose();
    let platforms: Vec<LockedPlatform> = targets.iter().flatten().map(|target| target.platform.clone()).collect();
    check(request, workspace, lock, configuration, &platforms)?;
    targets
}

/// Compares the lock file with the manifest for an environment on some of its locked platforms.
///
/// # Errors
/// [`Stale`]; the manifest says something that cannot be meant.
pub fn check(
    request: &BuildRequest,
    workspace: &Workspace,
    lock: &LockFile,
    configuration: &Configuration,
    platforms: &[LockedPlatform],
) -> Result<(), Error> {
    if request.frozen {
        return Ok(());
    }
    let environment = configuration.environment.as_str();
    let assumed = virtual_packages::unite([configuration.virtual_packages.clone(), request.virtual_packages.clone()]);
    let differences = differences(workspace, lock, environment, platforms, &assumed, request.now)?;
    if differences.is_empty() {
        return Ok(());
    }
    let stale = Stale { path: lock.path().to_owned(), environment: environment.to_owned(), differences };
    Err(Box::new(stale).into())
}
