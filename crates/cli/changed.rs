//! Whether a workspace has changed since a commit, as far as git and its files can tell.

use std::path::Path;

use pixi_oci_git::Git;
use pixi_oci_platform::{Links, read};
use pixi_oci_project::OUTPUTS;

use crate::{error::CliError, version::directory};

/// As large as a lock file may be.
const MAX_NAMING: u64 = 128 << 20;
/// Files of a workspace that may name files outside of it.
const NAMING: [&str; 3] = ["pixi.toml", "pyproject.toml", "pixi.lock"];

/// Whether files of the workspace differ from where its branch left `since`, in commits or in the working tree.
///
/// A workspace that names something outside of it, in the repository, with `../`, counts as changed as soon as anything
/// in the repository has: what it names may itself name more. An empty `since`, and the zeros that forges send for a
/// new branch, mean that nothing is known: everything counts as changed.
pub fn has_changed(workspace: &Path, since: &str) -> Result<bool, CliError> {
    if since.bytes().all(|byte| byte == b'0') {
        return Ok(true);
    }
    let directory = directory(workspace);
    let reaches_out = NAMING.iter().any(|name| {
        read(&directory.join(name), Links::Follow, MAX_NAMING)
            .is_ok_and(|bytes| bytes.windows(3).any(|window| window == b"../"))
    });
    // `:/` is the whole repository.
    let place = if reaches_out { ":/" } else { "." };
    // Also what is in the making.
    let ours = [OUTPUTS[0], OUTPUTS[1], ".pixi-oci-*"];
    let changed = Git::at(directory).has_changed_since(since, place, &ours);
    changed.map_err(|reason| CliError::Since { workspace: workspace.to_owned(), since: since.to_owned(), reason })
}
