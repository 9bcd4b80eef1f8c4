//! Python projects of this machine: locked by their place, with the metadata that is written down in them.

use std::{collections::BTreeMap, path::Path, str::FromStr};

use pep508_rs::{MarkerEnvironment, PackageName, pep440_rs::VersionSpecifiers};
use rattler_lock::{PypiPackageData, PypiSourceData, SourceData, UrlOrPath, Verbatim};

use super::super::LockError;
use crate::{
    PypiRequirement, PypiSource, locate, locked_package::normalize, python_project::PythonProject,
    section::ManifestText,
};

/// The projects that requirements name, by PEP 503 name.
///
/// # Errors
/// A requirement of which only a build knows what it needs: a git repository, a source archive, a project that computes its
/// dependencies.
pub(super) fn read_all(
    requirements: &[PypiRequirement],
    root: &Path,
    environment: &str,
    markers: &MarkerEnvironment,
) -> Result<BTreeMap<String, PythonProject>, LockError> {
    let mut all = BTreeMap::new();
    for requirement in requirements.iter().filter(|requirement| requirement.marker.evaluate(markers, &[])) {
        let only_pixi = |what: String| LockError::PypiSource {
            environment: environment.to_owned(),
            package: requirement.name.clone(),
            what,
        };
        match &requirement.source {
            PypiSource::Registry { .. } => {}
            PypiSource::Git { .. } => return Err(only_pixi("from a git repository".to_owned())),
            PypiSource::Url { url, .. } if url.path().ends_with(".whl") => {}
            PypiSource::Path { path, .. } if path.ends_with(".whl") => {}
            PypiSource::Path { path, .. } if normalize(&root.join(path)).is_dir() => {
                let computed = || only_pixi(format!("from {path}, which does not write down what it requires"));
                let project = read(&normalize(&root.join(path)))?.ok_or_else(computed)?;
                if project.name != requirement.name {
                    let what = format!("from {path}, which is the project `{}`", project.name);
                    return Err(only_pixi(what));
                }
                all.insert(requirement.name.clone(), project);
            }
            PypiSource::Url { .. } | PypiSource::Path { .. } => {
                return Err(only_pixi("from a source archive".to_owned()));
            }
        }
    }
    Ok(all)
}

fn read(directory: &Path) -> Result<Option<PythonProject>, LockError> {
    let path = directory.join("pyproject.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = locate::read_manifest(&path)?;
    Ok(PythonProject::read(&ManifestText { path, text }).map_err(crate::Error::from)?)
}

/// What the lock file says of a project.
pub(super) fn locked(
    name: PackageName,
    project: &PythonProject,
    requirements: &[PypiRequirement],
) -> Result<PypiPackageData, LockError> {
    let path = requirements.iter().find_map(|requirement| match &requirement.source {
        PypiSource::Path { path, .. } if requirement.name == project.name => Some(path.as_str()),
        _ => None,
    });
    let location: UrlOrPath = written(path.unwrap_or_default())
        .parse()
        .map_err(|error| LockError::Document { message: format!("{name}: {error}") })?;
    Ok(PypiSourceData {
        name,
        location: Verbatim::new(location),
        requires_dist: project.requires_dist.clone(),
        requires_python: project.requires_python.as_deref().and_then(|text| VersionSpecifiers::from_str(text).ok()),
        source_data: SourceData::default(),
    }
    .into())
}

/// As pixi writes a path: with `./` unless it goes up or is absolute.
fn written(path: &str) -> String {
    match path {
        "" | "." => "./".to_owned(),
        path if path.starts_with(['.', '/']) => path.to_owned(),
        path => format!("./{path}"),
    }
}
