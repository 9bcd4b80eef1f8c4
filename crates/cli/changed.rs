//! Whether a workspace has changed since a commit, as far as git and its files can tell.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use pixi_oci_platform::{Links, read};

use crate::error::CliError;

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
    let directory = if workspace.is_dir() { workspace } else { workspace.parent().unwrap_or(Path::new(".")) };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let reaches_out = NAMING.iter().any(|name| {
        read(&directory.join(name), Links::Follow, MAX_NAMING)
            .is_ok_and(|bytes| bytes.windows(3).any(|window| window == b"../"))
    });
    // `:/` is the whole repository.
    let place = if reaches_out { ":/" } else { "." };
    let failed = |reason| CliError::Since { workspace: workspace.to_owned(), since: since.to_owned(), reason };
    git(directory, &["rev-parse", "--git-dir"]).map_err(failed)?;
    let too_few = |reason: String| failed(format!("{reason}; {SHALLOW}"));
    // `--end-of-options`: a name must not become an option.
    let changed = git(directory, &["diff", "--name-only", "--merge-base", "--end-of-options", since, "--", place]);
    let changed = changed.map_err(too_few)?;
    if !changed.trim().is_empty() {
        return Ok(true);
    }
    let new = git(directory, &["ls-files", "--others", "--exclude-standard", "--", place]).map_err(failed)?;
    Ok(!new.trim().is_empty())
}

/// What git prints, or the last line of its complaint that says something.
fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(text(&output.stderr).lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned())
}
