//! What the present lock file says about a problem.

use crate::file::MAX_LOCK_FILE;
use rattler_conda_types::RepoDataRecord;
use rattler_lock::LockedPackage;

use super::{error::LockError, problem::JointSolve};
use crate::{Error, LockFile, LockedPlatform, Wanted, differences};
use pixi_oci_workspace::{VirtualPackage, Workspace, read_text};

pub(super) struct Previous {
    pub(super) lock: LockFile,
    pub(super) text: String,
}

/// Reads it. One of before multiple environments is of no use; another that cannot be read is an error, because its
/// choices would be lost without a word.
pub(super) fn read(workspace: &Workspace) -> Result<Option<Previous>, LockError> {
    let lock = match LockFile::of(workspace) {
        Ok(lock) => lock,
        Err(Error::NoLockFile { .. } | Error::LockFileTooOld { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = read_text(&workspace.lock_path(), MAX_LOCK_FILE)?;
    Ok(Some(Previous { lock, text }))
}

impl Previous {
    /// The packages of each of the problem's environments, if all of them are what the manifest wants.
    pub(super) fn kept(
        &self,
        workspace: &Workspace,
        problem: &JointSolve,
        assumed: &[VirtualPackage],
        now: jiff::Timestamp,
    ) -> Result<Option<Vec<Vec<LockedPackage>>>, LockError> {
        let mut all = Vec::new();
        for member in &problem.members {
            let Some(platform) = self.platform(member) else { return Ok(None) };
            let platforms = [platform];
            if !differences(workspace, &self.lock, &member.environment, &platforms, assumed, now)?.is_empty() {
                return Ok(None);
            }
            all.push(self.lock.inner_packages(&member.environment, &platforms[0]).into_iter().cloned().collect());
        }
        Ok(Some(all))
    }

    /// The conda packages of the problem's environments, which are to be preferred. Of two with one name the newer one
    /// counts: environments can come together in a solve group.
    ///
    /// None if channels or solver options were others: then what was chosen means nothing now, as in pixi.
    pub(super) fn records(&self, problem: &JointSolve) -> Vec<RepoDataRecord> {
        let mut records: Vec<RepoDataRecord> = Vec::new();
        for member in &problem.members {
            if !self.was_solved_alike(member) {
                return Vec::new();
            }
            let Some(platform) = self.platform(member) else { continue };
            for package in self.lock.inner_packages(&member.environment, &platform) {
                let LockedPackage::Conda(data) = package else { continue };
                // Packages from source are not chosen again here; relative paths mean nothing to the solver.
                let Some(record) = data.as_binary().and_then(|data| RepoDataRecord::try_from(data).ok()) else {
                    continue;
                };
                let name = &record.package_record.name;
                match records.iter_mut().find(|known| known.package_record.name == *name) {
                    Some(known) if known.package_record.version < record.package_record.version => *known = record,
                    Some(_) => {}
                    None => records.push(record),
                }
            }
        }
        records
    }

    fn was_solved_alike(&self, wanted: &Wanted) -> bool {
        let Some(locked) = self.lock.inner(&wanted.environment) else { return true };
        let trimmed = |url: &str| url.trim_end_matches('/').to_owned();
        let options = locked.solve_options();
        options.channel_priority == wanted.options.channel_priority
            && options.strategy == wanted.options.solve_strategy
            && locked.channels().iter().map(|channel| trimmed(&channel.url)).collect::<Vec<_>>()
                == wanted.options.channels.iter().map(|channel| trimmed(&channel.url)).collect::<Vec<_>>()
    }

    /// The locked platform that is the wanted one: of the same subdir, and with the same virtual packages or name.
    fn platform(&self, wanted: &Wanted) -> Option<LockedPlatform> {
        let defaults = VirtualPackage::defaults(&wanted.platform.subdir);
        let extras: Vec<_> = wanted.virtual_packages.iter().filter(|package| !defaults.contains(package)).collect();
        let mut of_subdir = self.lock.all_platforms(&wanted.environment);
        of_subdir.retain(|platform| platform.subdir.as_str() == wanted.platform.subdir);
        let is_same = |platform: &&LockedPlatform| {
            platform.extras.len() == extras.len() && platform.extras.iter().all(|extra| extras.contains(&extra))
        };
        let named = |platform: &&LockedPlatform| platform.name == wanted.platform.name;
        of_subdir.iter().find(is_same).or_else(|| of_subdir.iter().find(named)).cloned()
    }
}
