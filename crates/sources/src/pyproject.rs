//! `pyproject.toml` as far as a wheel depends on it
//! (<https://packaging.python.org/en/latest/specifications/pyproject-toml/>).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::not_static::NotStatic;

/// The file. Tools' tables are kept unread.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PyProject {
    pub build_system: Option<BuildSystem>,
    pub project: Option<ProjectTable>,
    #[serde(default)]
    pub tool: BTreeMap<String, serde_json::Value>,
}

/// `[build-system]` (PEP 517, PEP 518).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildSystem {
    #[serde(default)]
    pub requires: Vec<String>,
    pub build_backend: Option<String>,
    #[serde(default)]
    pub backend_path: Vec<String>,
}

/// `[project]` (PEP 621, PEP 639). A key that is not known here means something that is not known here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProjectTable {
    pub name: String,
    pub version: Option<String>,
    pub description: Option<String>,
    pub readme: Option<Readme>,
    pub requires_python: Option<String>,
    pub license: Option<License>,
    pub license_files: Option<Vec<String>>,
    #[serde(default)]
    pub authors: Vec<Person>,
    #[serde(default)]
    pub maintainers: Vec<Person>,
    #[serde(default)]
    pub keywords: Vec<String>,
    #[serde(default)]
    pub classifiers: Vec<String>,
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
    #[serde(default)]
    pub dependencies: Vec<String>,
    #[serde(default)]
    pub optional_dependencies: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    #[serde(default)]
    pub gui_scripts: BTreeMap<String, String>,
    #[serde(default)]
    pub entry_points: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub dynamic: Vec<String>,
}

/// `readme`: a file, or a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Readme {
    Path(String),
    Table {
        file: Option<String>,
        text: Option<String>,
        #[serde(rename = "content-type")]
        content_type: String,
    },
}

/// `license`: an SPDX expression, or the older table.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum License {
    Expression(String),
    Table { file: Option<String>, text: Option<String> },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    pub name: Option<String>,
    pub email: Option<String>,
}

impl PyProject {
    pub fn parse(text: &str) -> Result<Self, NotStatic> {
        toml_edit::de::from_str(text).map_err(|error| {
            NotStatic(format!("its pyproject.toml is not understood: {}", error.message().replace('\n', ", ")))
        })
    }

    /// `[tool.NAME]`, or nothing.
    pub fn tool(&self, name: &str) -> &serde_json::Value {
        self.tool.get(name).unwrap_or(&serde_json::Value::Null)
    }
}
