//! What the environment and git say about the version.

use std::{env, path::Path, thread};

use pixi_oci_git::Git;
use pixi_oci_project::{VersionFacts, version::ci_context};

/// `2024-data` is no version: of all tags only those that begin like one count.
const VERSIONS: [&str; 2] = ["[0-9]*.*", "v[0-9]*.*"];

/// Reads `VERSION` and the variables of CI systems, and asks git what they do not say.
pub fn facts(workspace: &Path) -> VersionFacts {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let said = variable("VERSION");
    let ci = ci_context(&variable);
    let git = Git::at(directory(workspace));
    let commit = git.commit();
    let asked = said.is_none() && ci.is_none();
    let (unclean, described, branch) = thread::scope(|scope| {
        let described = scope.spawn(|| commit.as_ref().filter(|_| asked).and_then(|_| git.describe(&VERSIONS)));
        let branch = scope.spawn(|| asked.then(|| git.branch()).flatten());
        let unclean = commit.as_ref().and_then(|_| git.unclean());
        (unclean, described.join().ok().flatten(), branch.join().ok().flatten())
    });
    let dirty = if unclean.is_some() { "-dirty" } else { "" };
    VersionFacts {
        described: described.map(|described| described.text(unclean.is_some())),
        branch,
        revision: commit.as_ref().map(|commit| format!("{commit}{dirty}")),
        commit: commit.filter(|_| ci.as_ref().is_none_or(|ci| ci.sha.is_none())),
        unclean,
        said,
        ci,
    }
}

/// The directory of a workspace, which may be named by its manifest.
pub fn directory(workspace: &Path) -> &Path {
    let directory = if workspace.is_dir() { Some(workspace) } else { workspace.parent() };
    directory.filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
