//! Whether a lock file is true to the manifest: what pixi checks for `--locked`, without asking anybody.
//!
//! ```text
//! Wanted ──┬─ options: channels, platforms, virtual packages, solver options, indexes
//!          ├─ conda:   every requirement, then the dependencies of what fulfils it, and so on
//!          └─ pypi:    the same, with markers evaluated for the locked Python
//! ```
//!
//! Where pixi stops at the first difference, all of them are listed. Pixi's own check is
//! `pixi_core/src/lock_file/satisfiability`; where this one is stricter or laxer, `docs/lock.md` says so.

mod conda;
mod conda_match;
mod difference;
mod local;
mod markers;
mod options;
mod packages;
mod pypi;
mod pypi_location;
mod tags;

pub use difference::Difference;
pub use markers::marker_environment;

use options::declared_platform;
use packages::Packages;

use crate::{LockFile, LockedPlatform, wanted, wanted_by_group};
use pixi_oci_workspace::{Error, VirtualPackage, Workspace};

/// In what the lock file differs from what the manifest wants for an environment: its options and platforms, and its
/// packages on the given ones of its locked platforms. Empty if the lock file is true.
///
/// `assumed` is what the caller says that targets have: a lock file is solved with it, and does not tell of it. `now` is
/// for `exclude-newer` with a duration.
pub fn differences(
    workspace: &Workspace,
    lock: &LockFile,
    environment: &str,
    platforms: &[LockedPlatform],
    assumed: &[VirtualPackage],
    now: jiff::Timestamp,
) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    let declared = workspace.environment_platforms(environment)?;
    let Some(locked) = lock.inner(environment) else {
        let text = format!("environment `{environment}` is in the manifest and not in the lock");
        Difference::add(&mut found, text, None);
        return Ok(found);
    };
    if let Some(any) = declared.first().or(workspace.platforms.first()) {
        options::compare(&wanted(workspace, environment, any)?, lock, locked, &mut found);
    }
    for name in lock.environments().into_iter().filter(|name| !workspace.environments.contains_key(name)) {
        let text = format!("environment `{name}` is in the lock and not in the manifest");
        found.push(Difference { text, platforms: Vec::new(), is_of_the_file: true });
    }
    let all = lock.all_platforms(environment);
    options::compare_platforms(workspace, lock, environment, &declared, &all, &mut found)?;
    for platform in platforms {
        let Some(declared) = declared_platform(&declared, platform) else { continue };
        let mut wanted = wanted(workspace, environment, declared)?;
        wanted.virtual_packages = VirtualPackage::over(wanted.virtual_packages.iter().chain(assumed));
        let packages = lock.inner_packages(environment, platform);
        let packages = Packages::of(&packages);
        let group = match &wanted.solve_group {
            Some(group) => wanted_by_group(workspace, group, declared)?.pypi,
            None => Vec::new(),
        };
        let mut of_pypi = Vec::new();
        let for_python = pypi::compare(&wanted, lock, &packages, &group, &mut |text| of_pypi.push(text));
        let mut report = |text| Difference::add(&mut found, text, Some(&declared.name));
        let only_for_python = conda::compare(&wanted, lock, &packages, &for_python, now, &mut report);
        of_pypi.into_iter().for_each(&mut report);
        for package in only_for_python {
            let others = wanted.solve_group.as_ref().map(|group| workspace.solve_group(group)).unwrap_or_default();
            let mut is_required = false;
            for other in others.into_iter().filter(|other| *other != environment) {
                is_required |= requires_conda(workspace, lock, other, platform, &package)?;
            }
            if !is_required {
                report(format!("{package} is locked as a conda package, and only Python packages require it"));
            }
        }
    }
    Ok(found)
}

/// Whether another environment of the solve group requires a conda package: it is then the conda package everywhere.
fn requires_conda(
    workspace: &Workspace,
    lock: &LockFile,
    environment: &str,
    platform: &LockedPlatform,
    package: &str,
) -> Result<bool, Error> {
    let declared = workspace.environment_platforms(environment)?;
    let Some(declared) = declared_platform(&declared, platform) else { return Ok(false) };
    let wanted = wanted(workspace, environment, declared)?;
    let packages = lock.inner_packages(environment, platform);
    Ok(conda::required_names(&wanted, lock, &Packages::of(&packages)).contains(package))
}

#[cfg(test)]
mod tests;
