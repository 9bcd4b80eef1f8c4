//! What uv is given: files in a directory of our own, so that no secret of a URL is on a command line.
//!
//! ```text
//! pyproject.toml     the requirements, and which of them must be from a certain index
//! uv.toml            indexes and options, in place of all configuration of this machine
//! constraints.txt    Python packages that conda packages are: only these versions of them exist
//! have/NAME/         such a package: a project of which uv needs nothing but name and version
//! excluded.txt       those of which nobody knows the Python version: they are there, and that is all
//! pylock.toml        what was chosen last time, to be preferred; and then what uv has chosen
//! ```

use std::{collections::BTreeMap, io, path::Path};

use pep508_rs::pep440_rs;
use rattler_solve::SolveStrategy;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};
use url::Url;

use super::super::LockError;
use crate::{
    FindLinks, Packages, PypiRequirement, PypiSource, Wanted, locked_package::normalize, python_project::PythonProject,
    satisfies::conda::Provided,
};

/// What is to be chosen, for one problem.
pub(super) struct Inputs<'a> {
    pub(super) wanted: &'a Wanted,
    /// The workspace's root.
    pub(super) root: &'a Path,
    /// What conda packages are.
    pub(super) provided: &'a [Provided],
    /// Projects on this machine, by PEP 503 name.
    pub(super) projects: &'a BTreeMap<String, PythonProject>,
    /// Name and version of what is to be preferred.
    pub(super) preferred: &'a [(String, String)],
    /// The present, for `exclude-newer = "7d"`.
    pub(super) now: jiff::Timestamp,
}

/// Where uv writes what it has chosen.
pub(super) const CHOSEN: &str = "pylock.toml";

impl Inputs<'_> {
    /// Writes everything.
    pub(super) fn write(&self, directory: &Path) -> Result<(), LockError> {
        self.try_write(directory).map_err(|source| LockError::Write { path: directory.to_owned(), source })
    }

    fn try_write(&self, directory: &Path) -> io::Result<()> {
        let write = |name: &str, text: String| std::fs::write(directory.join(name), text);
        let (mut constraints, mut excluded) = (String::new(), String::new());
        for package in self.provided {
            if self.projects.contains_key(&package.name) {
                continue;
            }
            if package.version.parse::<pep440_rs::Version>().is_err() {
                excluded.push_str(&format!("{}\n", package.name));
                continue;
            }
            let project = PythonProject {
                name: package.name.clone(),
                version: Some(package.version.clone()),
                requires_python: None,
                dependencies: Vec::new(),
                optional: BTreeMap::new(),
                requires_dist: Vec::new(),
            };
            let url = stand_in(directory, &package.name, &project)?;
            constraints.push_str(&format!("{} @ {url}\n", package.name));
        }
        let mut places = BTreeMap::new();
        for (name, project) in self.projects {
            places.insert(name.as_str(), stand_in(directory, name, project)?);
        }
        write("constraints.txt", constraints)?;
        write("excluded.txt", excluded)?;
        write("pyproject.toml", self.requirements(&places)?)?;
        write("uv.toml", self.settings())?;
        write(CHOSEN, preferences(self.preferred))
    }

    /// `pyproject.toml`
    fn requirements(&self, places: &BTreeMap<&str, Url>) -> io::Result<String> {
        let mut dependencies = Array::new();
        let (mut sources, mut indexes): (Table, Vec<&Url>) = (Table::new(), Vec::new());
        for requirement in &self.wanted.pypi {
            dependencies.push(self.requirement(requirement, places)?);
            if let PypiSource::Registry { index: Some(index), .. } = &requirement.source {
                let number = indexes.iter().position(|known| *known == index).unwrap_or_else(|| {
                    indexes.push(index);
                    indexes.len() - 1
                });
                let mut source = InlineTable::new();
                source.insert("index", format!("index-{number}").into());
                sources.insert(&requirement.name, value(source));
            }
        }
        let mut project = Table::new();
        project.insert("name", value("pixi-oci-environment"));
        project.insert("version", value("0"));
        project.insert("dependencies", value(dependencies));
        let mut document = DocumentMut::new();
        document.insert("project", Item::Table(project));
        let mut named = ArrayOfTables::new();
        for (number, index) in indexes.into_iter().enumerate() {
            let mut table = Table::new();
            table.insert("name", value(format!("index-{number}")));
            table.insert("url", value(index.as_str()));
            table.insert("explicit", value(true));
            named.push(table);
        }
        let mut uv = Table::new();
        uv.insert("sources", Item::Table(sources));
        uv.insert("index", Item::ArrayOfTables(named));
        let mut tool = Table::new();
        tool.insert("uv", Item::Table(uv));
        document.insert("tool", Item::Table(tool));
        Ok(document.to_string())
    }

    /// As PEP 508 has it.
    fn requirement(&self, requirement: &PypiRequirement, places: &BTreeMap<&str, Url>) -> io::Result<String> {
        let mut text = requirement.name.clone();
        if !requirement.extras.is_empty() {
            text.push_str(&format!("[{}]", requirement.extras.join(",")));
        }
        match &requirement.source {
            PypiSource::Registry { version, .. } => text.push_str(&format!(" {version}")),
            PypiSource::Url { url, .. } => text.push_str(&format!(" @ {url}")),
            PypiSource::Path { path, .. } => match places.get(requirement.name.as_str()) {
                Some(url) => text.push_str(&format!(" @ {url}")),
                None => text.push_str(&format!(" @ {}", file_url(&normalize(&self.root.join(path)))?)),
            },
            // Refused before.
            PypiSource::Git { .. } => {}
        }
        if let Some(marker) = requirement.marker.try_to_string() {
            text.push_str(&format!(" ; {marker}"));
        }
        Ok(text)
    }

    /// `uv.toml`
    fn settings(&self) -> String {
        let options = &self.wanted.pypi_options;
        let mut settings = DocumentMut::new();
        // Nothing of a package is run: of what has no wheel, only a build could say what it needs.
        settings.insert("no-build", value(true));
        settings.insert("python-downloads", value("never"));
        settings.insert("resolution", value(resolution(self.wanted.solve_strategy)));
        if let Some(strategy) = &options.index_strategy {
            settings.insert("index-strategy", value(strategy));
        }
        if let Some(mode) = &options.prerelease_mode {
            settings.insert("prerelease", value(mode));
        }
        match &options.no_binary {
            Packages::None => {}
            Packages::All => drop(settings.insert("no-binary", value(true))),
            Packages::Named(names) => {
                settings.insert("no-binary-package", value(names.iter().collect::<Array>()));
            }
        }
        let links = options.find_links.iter().map(|link| match link {
            FindLinks::Path(path) => normalize(&self.root.join(path)).to_string_lossy().into_owned(),
            FindLinks::Url(url) => url.to_string(),
        });
        settings.insert("find-links", value(links.collect::<Array>()));
        let exclude = &self.wanted.exclude_newer;
        if let Some(cutoff) = exclude.cutoff {
            settings.insert("exclude-newer", value(cutoff.resolve(self.now).to_string()));
        }
        let mut packages = InlineTable::new();
        for (name, cutoff) in &exclude.pypi_packages {
            packages.insert(name, Value::from(cutoff.resolve(self.now).to_string()));
        }
        if !packages.is_empty() {
            settings.insert("exclude-newer-package", value(packages));
        }
        // The primary index is uv's default one, as in pixi: it is asked after the others.
        let mut indexes = ArrayOfTables::new();
        for (number, index) in options.indexes().iter().enumerate() {
            let mut table = Table::new();
            table.insert("url", value(index));
            if number == 0 {
                table.insert("default", value(true));
            }
            indexes.push(table);
        }
        settings.insert("index", Item::ArrayOfTables(indexes));
        settings.to_string()
    }
}

/// A project that only has metadata, instead of something that is there already or must not be run.
fn stand_in(directory: &Path, name: &str, project: &PythonProject) -> io::Result<Url> {
    let place = directory.join("have").join(name);
    std::fs::create_dir_all(&place)?;
    let mut table = Table::new();
    table.insert("name", value(name));
    table.insert("version", value(project.version.as_deref().unwrap_or("0")));
    if let Some(requires) = &project.requires_python {
        table.insert("requires-python", value(requires));
    }
    table.insert("dependencies", value(project.dependencies.iter().collect::<Array>()));
    let mut optional = Table::new();
    for (extra, texts) in &project.optional {
        optional.insert(extra, value(texts.iter().collect::<Array>()));
    }
    table.insert("optional-dependencies", Item::Table(optional));
    let mut document = DocumentMut::new();
    document.insert("project", Item::Table(table));
    std::fs::write(place.join("pyproject.toml"), document.to_string())?;
    file_url(&place)
}

fn file_url(path: &Path) -> io::Result<Url> {
    Url::from_file_path(path).map_err(|()| io::Error::other(format!("{} is not an absolute path", path.display())))
}

/// A lock file of uv's with nothing but versions, which it prefers.
fn preferences(preferred: &[(String, String)]) -> String {
    let mut document = DocumentMut::new();
    document.insert("lock-version", value("1.0"));
    document.insert("created-by", value("pixi-oci"));
    let mut packages = ArrayOfTables::new();
    for (name, version) in preferred {
        let mut table = Table::new();
        table.insert("name", value(name));
        table.insert("version", value(version));
        packages.push(table);
    }
    // Empty, it must be there all the same.
    let packages = if packages.is_empty() { value(Array::new()) } else { Item::ArrayOfTables(packages) };
    document.insert("packages", packages);
    document.to_string()
}

fn resolution(strategy: SolveStrategy) -> &'static str {
    match strategy {
        SolveStrategy::Highest => "highest",
        SolveStrategy::LowestVersion => "lowest",
        SolveStrategy::LowestVersionDirect => "lowest-direct",
    }
}
