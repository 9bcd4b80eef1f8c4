//! What the environment and git say about the version.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use pixi_oci_publish::VersionFacts;
use pixi_oci_publish::tags::ci_context;

/// Reads `VERSION` and the variables of CI systems, and asks git what they do not say.
pub fn facts(workspace: &Path) -> VersionFacts {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let said = variable("VERSION");
    let ci = ci_context(&variable);
    let directory = if workspace.is_dir() { workspace } else { workspace.parent().unwrap_or(Path::new(".")) };
    let git = |arguments: &[&str]| git(directory, arguments);
    let asked = said.is_none() && ci.is_none();
    // `2024-data` is no version: of all tags only those that begin like one count.
    let describe = ["describe", "--tags", "--dirty", "--match=[0-9]*.*", "--match=v[0-9]*.*"];
    VersionFacts {
        described: asked.then(|| git(&describe)).flatten(),
        branch: asked.then(|| git(&["symbolic-ref", "--short", "--quiet", "HEAD"])).flatten(),
        commit: if ci.as_ref().is_some_and(|ci| ci.sha.is_some()) { None } else { git(&["rev-parse", "HEAD"]) },
        said,
        ci,
    }
}

/// The first line that git prints; `None` where there is no git or no repository.
fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
