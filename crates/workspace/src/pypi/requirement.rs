//! Python requirements of a manifest: `[pypi-dependencies]` and the lists of `pyproject.toml`.

use std::str::FromStr;

use pep508_rs::{MarkerTree, VerbatimUrl, VersionOrUrl, pep440_rs::VersionSpecifiers};
use url::Url;

use crate::{
    ManifestError,
    pypi::normalized,
    requirement::{Context, GitReference, git_reference},
    toml::{Element, Section},
};

#[derive(Debug, Clone, PartialEq)]
pub struct PypiRequirement {
    /// The PEP 503 name.
    pub name: String,
    /// The extras that are wanted, by PEP 503 name.
    pub extras: Vec<String>,
    /// Where it applies; always true if nothing is said.
    pub marker: MarkerTree,
    pub source: PypiSource,
    /// The feature that declares it, `default` for the top-level tables and `[project] dependencies`.
    pub feature: String,
}

/// Where a Python package comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PypiSource {
    Registry {
        /// The versions that will do; empty for any.
        version: VersionSpecifiers,
        /// The one index it must come from.
        index: Option<Url>,
    },
    Git {
        /// The repository, without `git+`.
        url: Url,
        /// What is checked out; `None` for the default branch.
        reference: Option<GitReference>,
        subdirectory: Option<String>,
    },
    /// A directory or archive on this machine.
    Path {
        /// As written; relative to the workspace's root.
        path: String,
        /// Whether its files are to be used where they are.
        editable: bool,
    },
    Url {
        url: Url,
        subdirectory: Option<String>,
    },
}

impl PypiRequirement {
    /// Reads the table under `pypi-dependencies`; nothing if there is none.
    pub(crate) fn read_table(section: &Section<'_>, context: Context<'_>) -> Result<Vec<Self>, ManifestError> {
        let Some(table) = section.section("pypi-dependencies")? else { return Ok(Vec::new()) };
        table.keys().map(|name| Self::read(&table, name, context)).collect()
    }

    fn read(table: &Section<'_>, key: &str, context: Context<'_>) -> Result<Self, ManifestError> {
        let name = pep508_rs::PackageName::from_str(key)
            .map_err(|e| table.error_at_key(key, format!("`{key}` is not a Python package name: {e}")))?;
        let requirement = |source, extras, marker| Self {
            name: name.to_string(),
            extras,
            marker,
            source,
            feature: context.feature.to_owned(),
        };
        let own = match table.entry(key)? {
            Some(Element::Value(leaf)) => {
                let text = leaf.value().as_str().ok_or_else(|| leaf.wanted("a version or a table"))?;
                let version = version(text).map_err(|message| leaf.error(message))?;
                return Ok(requirement(PypiSource::Registry { version, index: None }, Vec::new(), MarkerTree::TRUE));
            }
            Some(Element::Table(own)) => own,
            None => {
                let version = VersionSpecifiers::empty();
                return Ok(requirement(PypiSource::Registry { version, index: None }, Vec::new(), MarkerTree::TRUE));
            }
        };
        let extras = own.strings("extras")?.unwrap_or_default().iter().map(|extra| normalized(extra)).collect();
        let marker = own.parsed("env-markers", |text| {
            MarkerTree::from_str(text).map_err(|e| format!("`{text}` is not a marker: {}", one_line(&e)))
        })?;
        Ok(requirement(source(&own)?, extras, marker.unwrap_or(MarkerTree::TRUE)))
    }

    /// Reads a requirement of `pyproject.toml`, e.g. `requests[socks] >=2; python_version < "3.12"`.
    pub fn parse(text: &str, feature: &str) -> Result<Self, String> {
        let parsed = pep508_rs::Requirement::<VerbatimUrl>::from_str(text)
            .map_err(|e| format!("`{text}` is not a PEP 508 requirement: {}", one_line(&e)))?;
        let source = match parsed.version_or_url {
            None => PypiSource::Registry { version: VersionSpecifiers::empty(), index: None },
            Some(VersionOrUrl::VersionSpecifier(version)) => PypiSource::Registry { version, index: None },
            Some(VersionOrUrl::Url(url)) => direct(&url.to_url())?,
        };
        Ok(Self {
            name: parsed.name.to_string(),
            extras: parsed.extras.iter().map(ToString::to_string).collect(),
            marker: parsed.marker,
            source,
            feature: feature.to_owned(),
        })
    }

    /// Whether it is a directory whose files are to be used where they are.
    pub fn is_editable(&self) -> bool {
        matches!(self.source, PypiSource::Path { editable: true, .. })
    }
}

fn source(table: &Section<'_>) -> Result<PypiSource, ManifestError> {
    let plain = |text: &str| {
        Url::parse(text.strip_prefix("git+").unwrap_or(text)).map_err(|e| format!("`{text}` is not a URL: {e}"))
    };
    let url = |key: &str| table.parsed(key, plain);
    let (direct, git, path) = (url("url")?, url("git")?, table.string("path")?);
    let version = table.parsed("version", version)?;
    if version.is_some() && (direct.is_some() || git.is_some() || path.is_some()) {
        return Err(table.error_at_key("version", "`version` cannot be used with `url`, `git` or `path`"));
    }
    let subdirectory = table.string("subdirectory")?;
    match (direct, git, path) {
        (None, None, None) => {
            Ok(PypiSource::Registry { version: version.unwrap_or_else(VersionSpecifiers::empty), index: url("index")? })
        }
        (Some(url), None, None) => Ok(PypiSource::Url { url, subdirectory }),
        (None, Some(url), None) => {
            let reference = git_reference(|key| table.string(key), table)?;
            Ok(PypiSource::Git { url, reference, subdirectory })
        }
        (None, None, Some(path)) => {
            Ok(PypiSource::Path { path, editable: table.boolean("editable")?.unwrap_or(false) })
        }
        _ => Err(table.error("only one of `url`, `git` and `path` can be given")),
    }
}

/// The source that a URL in a PEP 508 requirement means.
fn direct(url: &Url) -> Result<PypiSource, String> {
    let subdirectory = url
        .fragment()
        .and_then(|fragment| fragment.split('&').find_map(|part| part.strip_prefix("subdirectory=")))
        .map(str::to_owned);
    let mut plain = url.clone();
    plain.set_fragment(None);
    if let Some(rest) = plain.as_str().strip_prefix("git+") {
        let mut repository = Url::parse(rest).map_err(|e| format!("`{url}` is not a URL: {e}"))?;
        let reference = repository.path().rsplit_once('@').map(|(path, rev)| (path.to_owned(), rev.to_owned()));
        if let Some((path, _)) = &reference {
            repository.set_path(path);
        }
        let reference = reference.map(|(_, rev)| GitReference::Rev(rev));
        return Ok(PypiSource::Git { url: repository, reference, subdirectory });
    }
    if plain.scheme() == "file" {
        let path = plain.to_file_path().map_err(|()| format!("`{url}` is not a path on this machine"))?;
        return Ok(PypiSource::Path { path: path.to_string_lossy().into_owned(), editable: false });
    }
    Ok(PypiSource::Url { url: plain, subdirectory })
}

/// A PEP 440 specification; `*` is any version.
fn version(text: &str) -> Result<VersionSpecifiers, String> {
    if text.trim() == "*" {
        return Ok(VersionSpecifiers::empty());
    }
    VersionSpecifiers::from_str(text).map_err(|e| match text {
        _ if text.contains("://") => format!("`{text}` is not a version; write `{{ url = \"{text}\" }}`"),
        _ if text.starts_with(['.', '/', '~']) && !text.starts_with("~=") => {
            format!("`{text}` is not a version; write `{{ path = \"{text}\" }}`")
        }
        _ => format!("`{text}` is not a PEP 440 version specification: {}", one_line(&e)),
    })
}

/// The first line of a message that goes on with a drawing of its own.
fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
