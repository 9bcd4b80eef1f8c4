//! What a workspace says of itself. Without `pixi.toml`, Python's `[project]` says it.

use std::path::Path;

use crate::{
    ManifestError,
    toml::{Element, Section},
};

/// A workspace's own words: none of them changes what is solved or built.
#[derive(Debug, Clone)]
pub struct About {
    /// Without one in the manifest, the directory's.
    pub name: String,
    /// As written.
    pub version: Option<String>,
    pub description: Option<String>,
    /// As written; SPDX in most cases.
    pub license: Option<String>,
    pub repository: Option<String>,
    pub homepage: Option<String>,
    /// Each `NAME <EMAIL>` where both are known.
    pub authors: Vec<String>,
}

impl About {
    pub(super) fn read(
        workspace: &Section<'_>,
        python: Option<&Section<'_>>,
        root: &Path,
    ) -> Result<Self, ManifestError> {
        let text_of = |key: &str| inherited(workspace, python, key);
        // `[project.urls]` has names of its own, of which case does not matter.
        let urls = python.map(|project| project.string_map("urls")).transpose();
        let urls = urls.ok().flatten().flatten().unwrap_or_default();
        let python_url =
            |key: &str| urls.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, url)| url.clone());
        let directory = root.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            name: text_of("name")?.or(directory).unwrap_or_else(|| "workspace".to_owned()),
            version: text_of("version")?,
            description: text_of("description")?,
            license: text_of("license")?,
            repository: text_of("repository")?.or(python_url("repository")),
            homepage: text_of("homepage")?.or(python_url("homepage")),
            authors: read_authors(workspace, python)?,
        })
    }
}

/// A text of the workspace table, else of Python's `[project]`; `license` may be a table `{ text = "…" }` there.
fn inherited(
    workspace: &Section<'_>,
    python: Option<&Section<'_>>,
    key: &str,
) -> Result<Option<String>, ManifestError> {
    if let Some(text) = workspace.string(key)? {
        return Ok(Some(text));
    }
    match python.map(|python| python.entry(key)).transpose()?.flatten() {
        Some(Element::Table(table)) => table.string("text"),
        Some(Element::Value(leaf)) => leaf.string().map(Some),
        None => Ok(None),
    }
}

fn read_authors(workspace: &Section<'_>, python: Option<&Section<'_>>) -> Result<Vec<String>, ManifestError> {
    let entries = match (workspace.list("authors")?, python) {
        (Some(entries), _) => Some(entries),
        (None, Some(python)) => python.list("authors")?,
        (None, None) => None,
    };
    let mut authors = Vec::new();
    for entry in entries.unwrap_or_default() {
        let Element::Table(table) = entry else {
            authors.push(entry.string()?);
            continue;
        };
        match (table.string("name")?, table.string("email")?) {
            (Some(name), Some(email)) => authors.push(format!("{name} <{email}>")),
            (Some(one), None) | (None, Some(one)) => authors.push(one),
            (None, None) => {}
        }
    }
    Ok(authors)
}
