//! `--locked`, which is the default: the lock file must be true to the manifest.

use std::{fmt, path::PathBuf};

use pixi_oci_lock::{Difference, LockedPlatform, differences};

use crate::{Error, project::Project, target::Target, virtual_packages};

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
pub fn checked(project: &Project, choose: impl FnOnce() -> Result<Vec<Target>, Error>) -> Result<Vec<Target>, Error> {
    if project.is_frozen() || !project.workspace.environments.contains_key(&project.configuration.environment) {
        return choose();
    }
    let targets = choose();
    let platforms: Vec<LockedPlatform> = targets.iter().flatten().map(|target| target.platform.clone()).collect();
    check(project, &platforms)?;
    targets
}

/// Compares the lock file with the manifest for the project's environment on some of its locked platforms.
///
/// # Errors
/// [`Stale`]; the manifest contradicts itself.
pub fn check(project: &Project, platforms: &[LockedPlatform]) -> Result<(), Error> {
    if project.is_frozen() {
        return Ok(());
    }
    let environment = project.configuration.environment.as_str();
    let assumed = virtual_packages::unite([
        project.configuration.virtual_packages.clone(),
        project.inputs.assumed.virtual_packages.clone(),
    ]);
    let lock = &project.lock;
    let differences = differences(&project.workspace, lock, environment, platforms, &assumed, project.inputs.now)?;
    if differences.is_empty() {
        return Ok(());
    }
    let stale = Stale { path: lock.path().to_owned(), environment: environment.to_owned(), differences };
    Err(Box::new(stale).into())
}
