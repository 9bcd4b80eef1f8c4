//! Directories of Python projects: their metadata may have changed since they were locked.

use std::{collections::BTreeSet, path::Path};

use pep508_rs::{Requirement, VerbatimUrl};
use rattler_lock::PypiSourceData;

/// Compares what a project's `pyproject.toml` says statically with what was locked of it. What it computes when it is
/// built nobody can know without building it.
pub(super) fn compare(locked: &PypiSourceData, directory: &Path, say: &mut impl FnMut(String)) {
    if !directory.exists() {
        say(format!("is locked from {}, which does not exist", directory.display()));
        return;
    }
    let current = pixi_oci_workspace::requires_dist(&directory.join("pyproject.toml"));
    let Ok(Some(current)) = current else { return };
    let current: BTreeSet<String> = current.iter().map(canonical).collect();
    let known: BTreeSet<String> = locked.requires_dist.iter().map(canonical).collect();
    let differ = |from: &BTreeSet<String>, other: &BTreeSet<String>| {
        from.difference(other).cloned().collect::<Vec<_>>().join(", ")
    };
    let (added, removed) = (differ(&current, &known), differ(&known, &current));
    match (added.is_empty(), removed.is_empty()) {
        (true, true) => {}
        (false, true) => say(format!("requires {added} now, which was not locked")),
        (true, false) => say(format!("no longer requires {removed}, which was locked")),
        (false, false) => say(format!("requires {added} now, and no longer {removed}")),
    }
}

/// One text for requirements that mean the same. uv, and so lock files, write what `platform_system` says with `sys_platform`
/// where the two say the same.
fn canonical(requirement: &Requirement<VerbatimUrl>) -> String {
    let mut text = requirement.to_string().replace('"', "'");
    for (system, platform) in SYSTEMS {
        for operator in ["==", "!="] {
            let (long, short) =
                (format!("platform_system {operator} '{system}'"), format!("sys_platform {operator} '{platform}'"));
            text = text.replace(&long, &short);
        }
    }
    let parsed = text.parse::<Requirement<VerbatimUrl>>();
    parsed.map_or(text, |requirement| requirement.to_string()).replace(' ', "")
}

/// uv's list: values of `platform_system` and the `sys_platform` that goes with each and with no other.
const SYSTEMS: [(&str, &str); 6] = [
    ("AIX", "aix"),
    ("Android", "android"),
    ("Darwin", "darwin"),
    ("Emscripten", "emscripten"),
    ("Linux", "linux"),
    ("Windows", "win32"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_that_mean_the_same() {
        let text = |text: &str| canonical(&text.parse().unwrap());
        for (manifest, lock) in [
            ("a; platform_system == 'Linux'", "a ; sys_platform == 'linux'"),
            ("a>=1 ; platform_system != \"Windows\"", "a>=1; sys_platform != 'win32'"),
            (
                "a; (platform_machine == 'arm64' and platform_system == 'Darwin') or platform_system == 'Linux'",
                "a; (platform_machine == 'arm64' and sys_platform == 'darwin') or sys_platform == 'linux'",
            ),
        ] {
            assert_eq!(text(manifest), text(lock));
        }
        assert_ne!(text("a; platform_system == 'FreeBSD'"), text("a; sys_platform == 'freebsd'"));
    }
}
