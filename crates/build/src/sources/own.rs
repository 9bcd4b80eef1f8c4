//! The workspace's own package as a wheel, without its build backend: a wheel of pure Python whose metadata is static is a
//! zip of source files and a description, and both follow from `pyproject.toml` and the files that are there.
//!
//! What the backend would make is the yardstick (`tests/own_packages.rs` compares). Where that depends on anything that is
//! not understood here, the answer is [`NotStatic`] and never a guess.

mod backend;
mod listing;
mod literal;
mod metadata;
mod pyproject;

use std::{
    collections::BTreeMap,
    fmt,
    io::BufWriter,
    path::{Path, PathBuf},
};

use pixi_oci_layer::TreePath;
use pixi_oci_package::{NewWheelFile, pack_wheel};

use self::{
    backend::{Selection, Source},
    metadata::Described,
    pyproject::PyProject,
};
pub use self::{listing::Listing, pyproject::BuildSystem};
use super::SourceError;
use crate::{
    Error,
    secrets::{secret_content, secret_name},
};

/// Why a project's wheel cannot be known without its build backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStatic(String);

impl NotStatic {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for NotStatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A wheel that was made.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnWheel {
    /// The file.
    pub path: PathBuf,
    /// The PEP 503 name.
    pub name: String,
    /// The version it has.
    pub version: String,
    /// Files of the package that look like secrets and are not in the wheel, and what they look like.
    pub left_out: BTreeMap<String, &'static str>,
}

/// More than this is no source code.
const MAX_BYTES: u64 = 512 << 20;

/// Makes the wheel of the project in `directory` in `scratch`. Its PEP 503 name must be `name`, if there is one. Files may
/// be links, but not out of `workspace`.
///
/// # Errors
/// The inner one says why the backend is needed; the outer one is a failure: files that cannot be read, a secret.
pub fn own_wheel(
    directory: &Path,
    workspace: &Path,
    name: Option<&str>,
    scratch: &Path,
) -> Result<Result<OwnWheel, NotStatic>, Error> {
    let listing = Listing::read(directory)?;
    let (described, selection) = match read(&listing, name) {
        Ok(read) => read,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut left_out = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut budget = MAX_BYTES;
    let dist_info = format!("{}.dist-info", described.stem);
    let licenses = described.license_files.iter().map(|path| (format!("{dist_info}/licenses/{path}"), path));
    let chosen = selection.files.iter().map(|(inside, path)| (inside.clone(), path)).chain(licenses);
    for (inside, path) in chosen {
        if let Some(what) = path.split('/').find_map(secret_name) {
            left_out.insert(path.clone(), what);
            continue;
        }
        let Ok(inside) = TreePath::new(&inside) else {
            return Ok(Err(NotStatic::new(format!("{inside:?} is no path of a wheel"))));
        };
        let mut file = content(&listing, path, workspace, &mut budget)?;
        file.executable &= !selection.drops_modes;
        files.insert(inside, file);
    }
    for (file, text) in [
        ("METADATA", Some(described.metadata)),
        ("WHEEL", Some(metadata::WHEEL.to_owned())),
        ("entry_points.txt", described.entry_points),
        ("top_level.txt", selection.top_level.map(|names| names.join("\n") + "\n")),
    ] {
        let path = TreePath::new(&format!("{dist_info}/{file}"));
        if let (Some(text), Ok(path)) = (text, path) {
            files.insert(path, NewWheelFile { bytes: text.into_bytes(), executable: false });
        }
    }
    let path = scratch.join(format!("{}-py3-none-any.whl", described.stem));
    let failed = |source| Error::Io { action: "write", path: path.clone(), source };
    let file = fs_err::File::create(&path).map_err(failed)?;
    pack_wheel(BufWriter::new(file), &dist_info, &files).map_err(failed)?;
    Ok(Ok(OwnWheel { path, name: described.name, version: described.version, left_out }))
}

/// Everything that can be known without a content.
fn read(listing: &Listing, name: Option<&str>) -> Result<(Described, Selection), NotStatic> {
    if !listing.is_file("pyproject.toml") {
        return Err(NotStatic::new("it has no pyproject.toml"));
    }
    let pyproject = PyProject::parse(&listing.text("pyproject.toml")?)?;
    let Some(project) = &pyproject.project else {
        return Err(NotStatic::new("its pyproject.toml has no [project] table"));
    };
    if name.is_some_and(|name| project.name.parse::<pep508_rs::PackageName>().map_or(true, |own| own.as_ref() != name))
    {
        return Err(NotStatic::new(format!("its pyproject.toml is that of {:?}", project.name)));
    }
    let selection = backend::select(&Source { project, pyproject: &pyproject, listing })?;
    let version = match (&project.version, &selection.version) {
        (Some(version), None) | (None, Some(version)) => version,
        (None, None) => return Err(NotStatic::new("its pyproject.toml has no version")),
        (Some(_), Some(_)) => return Err(NotStatic::new("its version is both given and dynamic")),
    };
    let summary = selection.summary.as_deref();
    let described = metadata::describe(project, version, summary, selection.license_patterns, listing)?;
    Ok((described, selection))
}

fn content(listing: &Listing, path: &str, workspace: &Path, budget: &mut u64) -> Result<NewWheelFile, Error> {
    let file = listing.root.join(path);
    let failed = |source| Error::Io { action: "read", path: file.clone(), source };
    let real = fs_err::canonicalize(&file).map_err(failed)?;
    if !real.starts_with(fs_err::canonicalize(workspace).map_err(failed)?) {
        return Err(SourceError::OutsideLink { path: file }.into());
    }
    let found = listing.get(path).map_or(0, |found| found.len);
    let Some(left) = budget.checked_sub(found) else {
        return Err(SourceError::TooBig { directory: listing.root.clone(), limit: MAX_BYTES }.into());
    };
    *budget = left;
    let bytes = fs_err::read(&real).map_err(failed)?;
    if let Some(rule) = secret_content(&bytes) {
        return Err(SourceError::Secret { path: file, rule }.into());
    }
    Ok(NewWheelFile { bytes, executable: listing.get(path).is_some_and(|found| found.executable) })
}

#[cfg(test)]
mod tests;
