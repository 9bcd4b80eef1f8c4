//! What the `pyproject.toml` of a Python project says without running any of its code.

use std::{path::Path, str::FromStr};

use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};

use crate::{
    Error, files,
    pypi::normalized,
    toml::{ManifestText, Section},
};

/// What a Python project requires always and for its extras by its `pyproject.toml`, as the metadata of a wheel has it;
/// `None` if the dependencies are computed when it is built, if they name places (`name @ URL`, `[tool.uv.sources]`), or
/// if an extra consists of other extras, which every tool writes down in its own way.
pub fn requires_dist(path: &Path) -> Result<Option<Vec<Requirement<VerbatimUrl>>>, Error> {
    let manifest = &ManifestText { path: path.to_owned(), text: files::read_manifest(path)? };
    let document = manifest.parse()?;
    let top = Section::root(manifest, &document);
    let Some(project) = top.section("project")? else { return Ok(None) };
    let dynamic = project.strings("dynamic")?.unwrap_or_default();
    let has_sources = match top.section("tool")? {
        Some(tool) => tool.section("uv")?.is_some_and(|uv| uv.contains("sources")),
        None => false,
    };
    if has_sources || dynamic.iter().any(|key| key == "dependencies" || key == "optional-dependencies") {
        return Ok(None);
    }
    let dependencies = project.strings("dependencies")?.unwrap_or_default();
    let mut stated: Vec<_> = dependencies.into_iter().map(|text| (text, None)).collect();
    if let Some(table) = project.section("optional-dependencies")? {
        for extra in table.keys() {
            let texts = table.strings(extra)?.unwrap_or_default();
            stated.extend(texts.into_iter().map(|text| (text, Some(extra))));
        }
    }
    let name = project.string("name")?.map(|name| normalized(&name)).unwrap_or_default();
    let mut requires_dist = Vec::new();
    for (text, extra) in stated {
        let Ok(mut requirement) = Requirement::<VerbatimUrl>::from_str(&text) else { return Ok(None) };
        if requirement.name.to_string() == name || matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_))) {
            return Ok(None);
        }
        if let Some(extra) = extra.and_then(|extra| extra.parse().ok()) {
            requirement = requirement.with_extra_marker(&extra);
        }
        requires_dist.push(requirement);
    }
    Ok(Some(requires_dist))
}
