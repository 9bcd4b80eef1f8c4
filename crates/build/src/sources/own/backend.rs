//! Which files a build backend would put into a wheel, for the backends and settings whose rules are known here. Whatever
//! else is configured is for the backend itself to say: [`NotStatic`].

mod flit;
mod hatchling;
mod pdm;
mod poetry;
mod setuptools;
mod uv;

use std::collections::BTreeMap;

use pep508_rs::Requirement;
use serde_json::{Map, Value};

use super::{
    NotStatic,
    listing::Listing,
    pyproject::{BuildSystem, Project, PyProject},
};

/// What goes into a wheel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Paths in the wheel and the files of the project that are there.
    pub files: BTreeMap<String, String>,
    /// The version, where the project leaves it to the backend.
    pub version: Option<String>,
    /// The summary, where the project leaves it to the backend.
    pub summary: Option<String>,
    /// Where the backend looks for licences if nobody says.
    pub license_patterns: &'static [&'static str],
    /// Whether no file is executable, whatever it is in the project.
    pub drops_modes: bool,
    /// The names that can be imported, where the backend records them.
    pub top_level: Option<Vec<String>>,
}

/// A project whose metadata was read.
pub struct Source<'a> {
    pub project: &'a Project,
    pub pyproject: &'a PyProject,
    pub listing: &'a Listing,
}

type Rules = fn(&Source<'_>) -> Result<Selection, NotStatic>;

const LICENSES: &[&str] = &["LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*"];

/// Asks the rules of the project's backend.
pub fn select(source: &Source<'_>) -> Result<Selection, NotStatic> {
    let system = source.pyproject.build_system.clone().unwrap_or_default();
    if !system.backend_path.is_empty() {
        return Err(NotStatic::new("its build backend is a part of the project (`backend-path`)"));
    }
    let (allowed, rules): (&[&str], Rules) = match system.build_backend.as_deref() {
        // PEP 517: a project without a backend has setuptools.
        None | Some("setuptools.build_meta") => (&["setuptools", "wheel"], setuptools::select),
        Some("hatchling.build") => (&["hatchling"], hatchling::select),
        Some("flit_core.buildapi") => (&["flit-core"], flit::select),
        Some("uv_build") => (&["uv-build"], uv::select),
        Some("poetry.core.masonry.api") => (&["poetry-core"], poetry::select),
        Some("pdm.backend") => (&["pdm-backend"], pdm::select),
        Some(other) => return Err(NotStatic::new(format!("the rules of its build backend {other} are not known"))),
    };
    check_requires(&system, allowed)?;
    rules(source)
}

/// What is required beside the backend changes what it does: plugins that find files and versions, compilers.
fn check_requires(system: &BuildSystem, allowed: &[&str]) -> Result<(), NotStatic> {
    for text in &system.requires {
        let requirement: Requirement =
            text.parse().map_err(|_| NotStatic::new(format!("build requirement {text:?} is not understood")))?;
        if !allowed.contains(&requirement.name.as_ref()) {
            return Err(NotStatic::new(format!("its build needs {}", requirement.name)));
        }
    }
    Ok(())
}

impl Source<'_> {
    /// The project's name as file names have it: `my_app`.
    fn module_name(&self) -> String {
        let mut name = String::new();
        for part in self.project.name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
            name.push_str(if name.is_empty() { "" } else { "_" });
            name.push_str(part);
        }
        name.to_lowercase()
    }

    /// Whether the version is left to the backend.
    fn dynamic_version(&self) -> bool {
        self.project.dynamic.iter().any(|field| field == "version")
    }

    /// Fails if anything but `known` is left to the backend.
    fn check_dynamic(&self, known: &[&str]) -> Result<(), NotStatic> {
        match self.project.dynamic.iter().find(|field| !known.contains(&field.as_str())) {
            Some(field) => Err(NotStatic::new(format!("its `{field}` is dynamic"))),
            None => Ok(()),
        }
    }
}

impl Selection {
    /// Adds the files below `directory` that `keep` wants; their paths in the wheel are without `strip` and its slash.
    fn add_directory(
        &mut self,
        listing: &Listing,
        directory: &str,
        strip: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Result<(), NotStatic> {
        for path in listing.below(directory).filter(|path| keep(path)) {
            self.add_file(listing, path, strip)?;
        }
        Ok(())
    }

    fn add_file(&mut self, listing: &Listing, path: &str, strip: &str) -> Result<(), NotStatic> {
        if !listing.is_file(path) {
            return Err(NotStatic::new(format!("{path} is a link to a directory")));
        }
        let inside = path.strip_prefix(strip).map_or(path, |rest| rest.trim_start_matches('/'));
        self.files.insert(inside.to_owned(), path.to_owned());
        Ok(())
    }
}

/// A table of settings; absent is empty.
fn table<'a>(value: &'a Value, name: &str) -> Result<Option<&'a Map<String, Value>>, NotStatic> {
    match value {
        Value::Null => Ok(None),
        Value::Object(table) => Ok(Some(table)),
        _ => Err(NotStatic::new(format!("`{name}` is not a table"))),
    }
}

/// Fails if a table has a key that is neither known nor without effect on a wheel.
fn check_keys(value: &Value, name: &str, known: &[&str]) -> Result<(), NotStatic> {
    let keys = table(value, name)?.into_iter().flat_map(Map::keys);
    match keys.into_iter().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(NotStatic::new(format!("what `{name}.{key}` means is only known to its build backend"))),
        None => Ok(()),
    }
}

/// A list of texts; absent is `None`.
fn strings(value: &Value, name: &str) -> Result<Option<Vec<String>>, NotStatic> {
    let bad = || NotStatic::new(format!("`{name}` is not a list of texts"));
    match value {
        Value::Null => Ok(None),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(bad))
            .collect::<Result<_, _>>()
            .map(Some),
        _ => Err(bad()),
    }
}

/// A path of the project as settings write it: without `./` and without the slash at its end; `""` is the root.
fn clean(path: &str) -> Result<String, NotStatic> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.starts_with('/') || parts.contains(&"..") {
        return Err(NotStatic::new(format!("{path:?} is outside of the project")));
    }
    Ok(parts.join("/"))
}

fn is_bytecode(path: &str) -> bool {
    [".pyc", ".pyo"].iter().any(|end| path.ends_with(end))
}

/// Whether Python takes it for a name.
fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_alphabetic() || c == '_') && letters.all(|c| c.is_alphanumeric() || c == '_')
}
