//! Whether a workspace has changed since a commit, as far as git and its files can tell.

use std::path::Path;

use pixi_oci_git::{Git, GitError};
use pixi_oci_platform::{Links, read};

use crate::{error::CliError, version::directory};

/// As large as a lock file may be.
const MAX_NAMING: u64 = 128 << 20;
/// Files of a workspace that may name files outside of it.
const NAMING: [&str; 3] = ["pixi.toml", "pyproject.toml", "pixi.lock"];

/// Why a commit is not there although it exists.
const SHALLOW: &str = "a shallow clone has too few commits (GitHub: `fetch-depth: 0` of actions/checkout, Woodpecker: \
                       `partial: false` and `depth` of the clone)";

/// Whether files of the workspace differ from where its branch left `since`, in commits or in the working tree.
///
/// A workspace that names something outside of it, in the repository, with `../`, counts as changed as soon as anything
/// in the repository has: what it names may itself name more. An empty `since`, and the zeros that forges send for a
/// new branch, mean that nothing is known: everything counts as changed.
///
/// # Errors
///
/// The directory is in no git repository, or the commit is not there, as in a shallow clone.
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
    let failed = |reason| CliError::Since { workspace: workspace.to_owned(), since: since.to_owned(), reason };
    let git = Git::at(directory);
    output(&git, &["rev-parse", "--git-dir"]).map_err(failed)?;
    let too_few = |reason: String| failed(format!("{reason}; {SHALLOW}"));
    // `--end-of-options`: a name must not become an option.
    let diff =
        ["diff", "--name-only", "--no-ext-diff", "--ignore-submodules=dirty", "--merge-base", "--end-of-options"];
    let changed = output(&git, &[&diff[..], &[since, "--", place]].concat()).map_err(too_few)?;
    if !changed.is_empty() {
        return Ok(true);
    }
    let new = output(&git, &["ls-files", "--others", "--exclude-standard", "--", place]).map_err(failed)?;
    Ok(!new.is_empty())
}

/// What git prints, or the last line of its complaint that says something.
fn output(git: &Git, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let said =
        |error: GitError| error.said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned();
    git.output(arguments).map_err(said)
}
