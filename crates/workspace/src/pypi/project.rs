//! What the `pyproject.toml` of a Python project says without running any of its code.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};

use crate::{
    Error, files,
    pypi::normalized,
    toml::{ManifestText, Section},
};

/// The static metadata of a Python project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonProject {
    /// What it requires always and for its extras, as the metadata of a wheel has it.
    pub requires_dist: Vec<Requirement<VerbatimUrl>>,
}

impl PythonProject {
    /// Reads a `pyproject.toml`; `None` if the dependencies are computed when it is built, if they name places
    /// (`name @ URL`, `[tool.uv.sources]`), or if an extra consists of other extras, which every tool writes down in its
    /// own way.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
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
        let mut optional = BTreeMap::new();
        if let Some(table) = project.section("optional-dependencies")? {
            for extra in table.keys() {
                optional.insert(extra.to_owned(), table.strings(extra)?.unwrap_or_default());
            }
        }
        let name = project.string("name")?.map(|name| normalized(&name)).unwrap_or_default();
        let dependencies = project.strings("dependencies")?.unwrap_or_default();
        let mut requires_dist = Vec::new();
        let always = dependencies.iter().map(|text| (text, None));
        let sometimes = optional.iter().flat_map(|(extra, texts)| texts.iter().map(move |text| (text, Some(extra))));
        for (text, extra) in always.chain(sometimes) {
            let Ok(mut requirement) = Requirement::<VerbatimUrl>::from_str(text) else { return Ok(None) };
            if requirement.name.to_string() == name || matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_)))
            {
                return Ok(None);
            }
            if let Some(extra) = extra.and_then(|extra| extra.parse().ok()) {
                requirement = requirement.with_extra_marker(&extra);
            }
            requires_dist.push(requirement);
        }
        Ok(Some(Self { requires_dist }))
    }
}
