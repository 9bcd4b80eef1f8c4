//! What the environment and git say about the version.

use std::{env, path::Path, thread};

use pixi_oci_git::{Description, Git, WorkTree};
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
        let unclean = commit.as_ref().and_then(|_| unclean(&git));
        (unclean, described.join().ok().flatten(), branch.join().ok().flatten())
    });
    let dirty = if unclean.is_some() { "-dirty" } else { "" };
    VersionFacts {
        described: described.map(|described| text(&described, unclean.is_some())),
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

/// Why the working tree is not that of its commit, or may not be.
fn unclean(git: &Git) -> Option<String> {
    match git.tree() {
        Ok(WorkTree::Clean) => None,
        Ok(WorkTree::Dirty { path }) => Some(format!("{} is not as it was committed", path.display())),
        Ok(WorkTree::Unknown { path }) => Some(format!(
            "only a filter of the repository, which is not run, knows whether {} is as it was committed",
            path.display()
        )),
        Err(error) => Some(format!("it cannot be told whether the files are those of the commit: {error}")),
    }
}

/// As `git describe --tags --dirty` writes it.
fn text(described: &Description, unclean: bool) -> String {
    let Description { tag, distance, commit } = described;
    let mut text = tag.clone();
    if *distance > 0 {
        text.push_str(&format!("-{distance}-g{}", commit.get(..7).unwrap_or(commit)));
    }
    text.push_str(if unclean { "-dirty" } else { "" });
    text
}

#[cfg(test)]
mod tests {
    use super::{Description, text};

    #[test]
    fn descriptions_are_written_as_git_does() {
        let described = |distance| Description { tag: "v1.2.0".into(), distance, commit: "0123456789".into() };
        assert_eq!(text(&described(0), false), "v1.2.0");
        assert_eq!(text(&described(0), true), "v1.2.0-dirty");
        assert_eq!(text(&described(3), true), "v1.2.0-3-g0123456-dirty");
    }
}
