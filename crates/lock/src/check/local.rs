//! Directories of Python projects: their metadata may have changed since they were locked.

use std::{collections::BTreeSet, path::Path};

use pep508_rs::{Requirement, VerbatimUrl};
use rattler_lock::PypiSourceData;

use pixi_oci_workspace::PythonProject;

/// Compares what a project's `pyproject.toml` says statically with what was locked of it. What it computes when it is
/// built nobody can know without building it.
pub(super) fn compare(locked: &PypiSourceData, directory: &Path, say: &mut impl FnMut(String)) {
    if !directory.exists() {
        say(format!("is locked from {}, which does not exist", directory.display()));
        return;
    }
    let file = directory.join("pyproject.toml");
    let Ok(Some(project)) = PythonProject::read(&file) else { return };
    let current: BTreeSet<String> = project.requires_dist.iter().map(canonical).collect();
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

/// One text for requirements that mean the same.
fn canonical(requirement: &Requirement<VerbatimUrl>) -> String {
    requirement.to_string().replace(' ', "")
}
