//! The one rule for what is installed without its build backend: the backend is a pure one, the package is `src/NAME` or
//! `NAME`, nothing is configured that chooses or makes files, and nothing is compiled. Then all backends pack the same.

use std::{collections::BTreeMap, path::Path};

use ignore::gitignore::Gitignore;
use pep508_rs::Requirement;
use serde_json::Value;

use super::NotStatic;
use crate::{listing::Listing, pyproject::PyProject, vcs};

/// `build-backend`, its name in `requires`, files and settings that choose what it packs, and where it finds licences.
type Backend = (&'static str, &'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const LICENSES: &[&str] = &["LICEN[CS]E*", "COPYING*", "NOTICE*", "AUTHORS*"];
const SETUPTOOLS: &str = "setuptools";
const BACKENDS: [Backend; 6] = [
    ("setuptools.build_meta", SETUPTOOLS, &["setup.py", "setup.cfg", "MANIFEST.in"], "setuptools", LICENSES),
    ("hatchling.build", "hatchling", &["hatch.toml", "hatch_build.py"], "hatch", LICENSES),
    ("flit_core.buildapi", "flit-core", &[], "flit", &["COPYING*", "LICEN[CS]E*"]),
    ("uv_build", "uv-build", &[], "uv.build-backend", &[]),
    ("poetry.core.masonry.api", "poetry-core", &[], "poetry", LICENSES),
    ("pdm.backend", "pdm-backend", &["pdm_build.py"], "pdm", &["LICEN[CS]E*", "COPYING*", "NOTICE*"]),
];
/// Settings, with all below them, that do not change what is in a wheel, or only its version.
const HARMLESS: [&str; 14] = [
    "flit.sdist",
    "hatch.build.targets.sdist",
    "hatch.envs",
    "hatch.metadata.allow-direct-references",
    "hatch.publish",
    "hatch.version",
    "pdm.dev-dependencies",
    "pdm.distribution",
    "pdm.scripts",
    "pdm.version",
    "poetry.group",
    "poetry.requires-poetry",
    "setuptools.dynamic.version",
    "setuptools.zip-safe",
];
/// Ends of the names of files that are compiled, or were.
const COMPILED: [&str; 12] = ["c", "cc", "cpp", "cu", "cxx", "dylib", "f", "f90", "pyd", "pyx", "rs", "so"];

pub struct Package {
    /// `my_app`
    pub name: String,
    /// `src/my_app`, or `my_app`.
    pub place: String,
    /// Patterns of the licence texts.
    pub licenses: &'static [&'static str],
    /// setuptools makes no file executable, and records the names of packages.
    pub is_of_setuptools: bool,
}

impl Package {
    pub fn find(name: &str, pyproject: &PyProject, listing: &Listing) -> Result<Self, NotStatic> {
        let (_, backend, files, settings, licenses) = backend(pyproject)?;
        if let Some(file) = files.iter().find(|file| listing.is_file(file)) {
            return NotStatic::because(format!("what its {file} means is only known to {backend}"));
        }
        let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
        let name = parts.join("_").to_lowercase();
        let root = if listing.is_directory("src") { "src" } else { "" };
        let place = format!("{root}/{name}").trim_start_matches('/').to_owned();
        if !listing.is_file(&format!("{place}/__init__.py")) {
            return NotStatic::because(format!("there is no {place}/__init__.py, where its package would be"));
        }
        let same = [
            ("flit.module.name", Value::from(name.as_str())),
            ("hatch.build.targets.wheel.packages", Value::from(vec![place.as_str()])),
            ("setuptools.package-dir.", Value::from(root)),
            ("setuptools.packages.find.where", Value::from(vec![root])),
            ("uv.build-backend.module-name", Value::from(name.as_str())),
            ("uv.build-backend.module-root", Value::from(root)),
        ];
        let tool = serde_json::to_value(&pyproject.tool).unwrap_or_default();
        let table = settings.split('.').fold(&tool, |table, part| &table[part]);
        if let Some(key) = foreign(table, settings, &same) {
            return NotStatic::because(format!("what `tool.{key}` means is only known to its build backend"));
        }
        // Some backends pack all packages that they find; `tests` beside a package belongs to none.
        let inside = |path: &str| path[root.len()..].trim_start_matches('/').to_owned();
        let other = listing.below(root).map(inside).find(|path| match path.split_once('/') {
            Some((top, _)) if top == name || top == "tests" || top.contains('.') => false,
            Some((_, below)) => !root.is_empty() || below == "__init__.py",
            None => !root.is_empty() && path.ends_with(".py"),
        });
        if let Some(path) = other {
            return NotStatic::because(format!("{path} is beside its package {place}"));
        }
        Ok(Self { name, place, licenses, is_of_setuptools: *backend == SETUPTOOLS })
    }

    /// The paths in the wheel, and the files of the project that are there.
    pub fn files(
        &self,
        listing: &Listing,
        is_secret: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, String>, NotStatic> {
        let repository = listing.root.ancestors().find(|directory| fs_err::metadata(directory.join(".git")).is_ok());
        let above =
            listing.root.ancestors().take_while(|directory| repository.is_none_or(|top| directory.starts_with(top)));
        let ignored: Vec<Gitignore> = above.map(|directory| Gitignore::new(directory.join(".gitignore")).0).collect();
        let is_ignored =
            |path: &Path| ignored.iter().any(|all| all.matched_path_or_any_parents(path, false).is_ignore());
        let mut files = BTreeMap::new();
        for path in listing.below(&self.place) {
            let file = path.rsplit('/').next().unwrap_or(path);
            let end = file.rsplit_once('.').map_or("", |(_, end)| end);
            let module = matches!(end, "py" | "pyi") || file == "py.typed";
            if matches!(end, "pyc" | "pyo") {
                continue;
            }
            if !listing.is_file(path) {
                return NotStatic::because(format!("{path} is a link to a directory"));
            }
            if COMPILED.contains(&end) {
                return NotStatic::because(format!("{path} is compiled, or is to be"));
            }
            if self.is_of_setuptools && !module && !is_secret(path) {
                return NotStatic::because(format!(
                    "only setuptools knows whether it packs {path}, which is no module"
                ));
            }
            if is_ignored(&listing.root.join(path)) && !is_secret(path) {
                return NotStatic::because(format!("git ignores {path}, and backends differ in what that means"));
            }
            files.insert(path[self.place.len() - self.name.len()..].to_owned(), path.to_owned());
        }
        Ok(files)
    }
}

fn backend(pyproject: &PyProject) -> Result<&'static Backend, NotStatic> {
    let system = pyproject.build_system.clone().unwrap_or_default();
    if !system.backend_path.is_empty() {
        return NotStatic::because("its build backend is a part of the project (`backend-path`)");
    }
    // PEP 517: a project without a backend has setuptools.
    let module = system.build_backend.as_deref().unwrap_or("setuptools.build_meta");
    let Some(backend) = BACKENDS.iter().find(|backend| backend.0 == module) else {
        return NotStatic::because(format!("only its build backend {module} knows what it builds"));
    };
    for text in &system.requires {
        let unknown = || NotStatic(format!("build requirement {text:?} is not understood"));
        let requirement: Requirement = text.parse().map_err(|_| unknown())?;
        let name = requirement.name.as_ref();
        // What only says the version, and is not told otherwise, is known.
        let versions = vcs::by_default(pyproject) && vcs::plugins().any(|plugin| plugin == name);
        if name != backend.1 && name != "wheel" && !versions {
            return NotStatic::because(format!("its build needs {name}"));
        }
    }
    Ok(backend)
}

/// The first setting that is neither harmless nor what the rule says anyway.
fn foreign(value: &Value, key: &str, same: &[(&str, Value)]) -> Option<String> {
    if value.is_null() || HARMLESS.contains(&key) || same.iter().any(|(known, said)| *known == key && said == value) {
        return None;
    }
    let Value::Object(table) = value else { return Some(key.to_owned()) };
    table.iter().find_map(|(name, value)| foreign(value, &format!("{key}.{name}"), same))
}
