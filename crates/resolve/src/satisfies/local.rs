//! Directories of Python projects: their metadata may have changed since they were locked.

use std::{collections::BTreeSet, path::Path, str::FromStr};

use pep508_rs::{Requirement, VerbatimUrl};
use rattler_lock::PypiSourceData;

use crate::{
    ManifestError, locate,
    pypi_options::normalized,
    section::{ManifestText, Section},
};

/// Compares what a project's `pyproject.toml` says statically with what was locked of it. What it computes when it is
/// built nobody can know without building it.
pub(super) fn compare(locked: &PypiSourceData, directory: &Path, say: &mut impl FnMut(String)) {
    if !directory.exists() {
        say(format!("is locked from {}, which does not exist", directory.display()));
        return;
    }
    let file = directory.join("pyproject.toml");
    let Ok(text) = locate::read_manifest(&file) else { return };
    let manifest = ManifestText { path: file, text };
    let Ok(Some(current)) = requirements(&manifest) else { return };
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

/// The static requirements; `None` if there are none that could be compared.
fn requirements(manifest: &ManifestText) -> Result<Option<BTreeSet<String>>, ManifestError> {
    let document = manifest.parse()?;
    let top = Section::root(manifest, &document);
    let Some(project) = top.section("project")? else { return Ok(None) };
    let dynamic = project.strings("dynamic")?.unwrap_or_default();
    let name = project.string("name")?.map(|name| normalized(&name)).unwrap_or_default();
    let has_sources = match top.section("tool")? {
        Some(tool) => tool.section("uv")?.is_some_and(|uv| uv.contains("sources")),
        None => false,
    };
    if has_sources || dynamic.iter().any(|key| key == "dependencies" || key == "optional-dependencies") {
        return Ok(None);
    }
    let mut all = Vec::new();
    for text in project.strings("dependencies")?.unwrap_or_default() {
        all.push((text, None));
    }
    if let Some(optional) = project.section("optional-dependencies")? {
        for extra in optional.keys() {
            for text in optional.strings(extra)?.unwrap_or_default() {
                all.push((text, Some(extra)));
            }
        }
    }
    let mut canonical_texts = BTreeSet::new();
    for (text, extra) in all {
        let Ok(mut requirement) = Requirement::<VerbatimUrl>::from_str(&text) else { return Ok(None) };
        // An extra may consist of other extras; what was locked of that is written differently by every pixi.
        if requirement.name.to_string() == name
            || matches!(requirement.version_or_url, Some(pep508_rs::VersionOrUrl::Url(_)))
        {
            return Ok(None);
        }
        if let Some(extra) = extra.and_then(|extra| extra.parse().ok()) {
            requirement = requirement.with_extra_marker(&extra);
        }
        canonical_texts.insert(canonical(&requirement));
    }
    Ok(Some(canonical_texts))
}

/// One text for requirements that mean the same.
fn canonical(requirement: &Requirement<VerbatimUrl>) -> String {
    requirement.to_string().replace(' ', "")
}
