//! `--locked`, which is the default: the lock file must be up to date with the manifest.

use std::{fmt, path::PathBuf};

use pixi_oci_lock::{Difference, differences};
use pixi_oci_workspace::VirtualPackage;

use crate::{Error, LockUse, project::Project, target::Target};

/// So many differences are told; the others are counted.
const SHOWN: usize = 20;

/// A lock file that is not what the manifest says now.
#[derive(Debug, thiserror::Error)]
pub struct Stale {
    pub path: PathBuf,
    /// The environments for which it is not, the one that was asked for first, and in what it differs.
    pub environments: Vec<StaleEnvironment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleEnvironment {
    pub name: String,
    /// In what it differs, not empty.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not up to date with the manifest", self.path.display())?;
        let mut room = SHOWN;
        for StaleEnvironment { name, differences } in &self.environments {
            if room == 0 {
                write!(f, "\nor for environment `{name}`")?;
                continue;
            }
            let or = if room == SHOWN { "" } else { "\nor" };
            write!(f, "{or} for environment `{name}`:")?;
            for difference in differences.iter().take(room) {
                write!(f, "\n  {difference}")?;
            }
            if let Some(more) = differences.len().checked_sub(room).filter(|more| *more > 0) {
                write!(f, "\n  and {more} more")?;
            }
            room = room.saturating_sub(differences.len());
        }
        write!(f, "\nrun `pixi lock` or `pixi-oci lock` to renew it, or say `--frozen` to use it as it is")
    }
}

/// The targets that `choose` gives, if the lock file may be used for them.
///
/// What a stale lock file lacks may be the very platform that is asked for, so its staleness is the better answer than
/// that it has no such platform.
pub fn checked(project: &Project, choose: impl FnOnce() -> Result<Vec<Target>, Error>) -> Result<Vec<Target>, Error> {
    let targets = choose();
    // What was said of the machine is the reason, and no lock file would change that.
    if matches!(targets, Err(Error::VirtualPackage(_))) {
        return targets;
    }
    if project.workspace.environments.contains_key(&project.configuration.environment) {
        check(project)?;
    }
    targets
}

/// Compares the whole lock file with the manifest, as `pixi install --locked` does: one environment that is stale makes the
/// file stale.
pub fn check(project: &Project) -> Result<(), Error> {
    if project.inputs.lock_use == LockUse::Frozen {
        return Ok(());
    }
    let (workspace, lock) = (&project.workspace, &project.lock);
    let asked = project.configuration.environment.as_str();
    let others = workspace.environments.keys().map(String::as_str).filter(|name| *name != asked);
    let mut environments: Vec<StaleEnvironment> = Vec::new();
    for name in [asked].into_iter().chain(others) {
        let own = workspace.oci.environments.get(name).and_then(|oci| oci.virtual_packages.clone());
        let configured = own.or_else(|| workspace.oci.virtual_packages.clone()).unwrap_or_default();
        let assumed = VirtualPackage::over(configured.iter().chain(&project.inputs.virtual_packages));
        let platforms = lock.all_platforms(name);
        match differences(workspace, lock, name, &platforms, &assumed, project.inputs.now) {
            Ok(mut differences) => {
                // That is said once.
                differences.retain(|difference| name == asked || !difference.is_of_the_file);
                if !differences.is_empty() {
                    environments.push(StaleEnvironment { name: name.to_owned(), differences });
                }
            }
            Err(error) if name == asked => return Err(error.into()),
            // Nothing of what is built depends on it.
            Err(_) => {}
        }
    }
    if environments.is_empty() {
        return Ok(());
    }
    Err(Box::new(Stale { path: lock.path().to_owned(), environments }).into())
}
