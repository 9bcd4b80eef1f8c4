//! The list of paths that are to be linked: `info/paths.json`, or what came before it.

use std::{collections::HashMap, path::Path};

use pixi_oci_layer::TreePath;
use rattler_conda_types::package::{
    Files, HasPrefix, NoLink, NoSoftlink, PackageFile, PathType, PathsEntry, PathsJson,
};
use serde::Deserialize;

use super::files::InfoFiles;
use crate::{
    archive::Archive,
    check::check_tree,
    error::{Error, Refusal},
    path::normalise,
};

/// A path that is to be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPath {
    /// Where it is in the package.
    pub path: TreePath,
    /// How it is linked. Its own path is `path`, normalised.
    pub entry: PathsEntry,
}

/// Builders reserve 80 or 255 bytes, those of before 2015 wrote 32. What is much shorter is in a file so often that replacing
/// it takes gigabytes.
const MIN_PLACEHOLDER: usize = 8;

/// The paths of `info/paths.json`.
pub(super) fn from_json(archive: &Archive, json: &[u8]) -> Result<Vec<ListedPath>, Error> {
    // A short text could become gigabytes of entries.
    if memchr::memmem::find_iter(json, b"\"_path\"").take(archive.max_paths() as usize + 1).count() as u64
        > archive.max_paths()
    {
        return Err(too_many(archive));
    }
    let file = serde_json::from_slice::<BoundedPathsJson>(json)
        .map_err(|e| Error::info(&archive.name, "info/paths.json", e))?;
    checked(archive, file.paths)
}

/// The paths of packages of before 2017, as rattler's `PathsJson::from_deprecated` finds them. `types` says what each is.
pub(super) fn from_deprecated(
    archive: &Archive,
    files: &InfoFiles,
    types: &HashMap<TreePath, PathType>,
) -> Result<Vec<ListedPath>, Error> {
    fn parse<T: PackageFile>(archive: &Archive, files: &InfoFiles, file: &'static str) -> Result<Option<T>, Error> {
        let content = files.content(file).map(|bytes| T::from_slice(bytes));
        content.transpose().map_err(|e| Error::info(&archive.name, file, e))
    }
    let refuse = |path: &Path, refusal| Error::path(&archive.name, path.to_string_lossy(), refusal);

    let Some(mut listed) = parse::<Files>(archive, files, "info/files")? else {
        return Err(Error::info(&archive.name, "info/paths.json", "the package has neither this file nor info/files"));
    };
    listed.files.retain(|path| !path.as_os_str().is_empty());
    if listed.files.len() as u64 > archive.max_paths() {
        return Err(too_many(archive));
    }
    let has_prefix = parse::<HasPrefix>(archive, files, "info/has_prefix")?;
    let no_link = parse::<NoLink>(archive, files, "info/no_link")?;
    let no_softlink = parse::<NoSoftlink>(archive, files, "info/no_softlink")?;
    for entry in has_prefix.iter().flat_map(|file| &file.files) {
        normalise_path(&entry.relative_path).map_err(|refusal| refuse(&entry.relative_path, refusal))?;
    }
    let paths = PathsJson::from_deprecated(listed, has_prefix, no_link, no_softlink, |path| {
        let normal = normalise_path(path).map_err(|refusal| refuse(path, refusal))?;
        types.get(&normal).copied().ok_or_else(|| refuse(path, Refusal::Missing))
    })?;
    checked(archive, paths.paths)
}

fn normalise_path(path: &Path) -> Result<TreePath, Refusal> {
    normalise(path.to_str().ok_or(Refusal::NotUtf8)?)
}

/// Sorts the list and refuses what cannot be linked one path at a time.
fn checked(archive: &Archive, entries: Vec<PathsEntry>) -> Result<Vec<ListedPath>, Error> {
    let refuse = |path: &Path, refusal| Error::path(&archive.name, path.to_string_lossy(), refusal);
    let mut listed = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let path = normalise_path(&entry.relative_path).map_err(|refusal| refuse(&entry.relative_path, refusal))?;
        entry.relative_path = path.as_str().into();
        if entry.prefix_placeholder.is_some() && entry.path_type != PathType::HardLink {
            return Err(refuse(&entry.relative_path, Refusal::PlaceholderOfLink));
        }
        let placeholder = entry.prefix_placeholder.as_ref().map_or(0, |placeholder| placeholder.placeholder.len());
        if (1..MIN_PLACEHOLDER).contains(&placeholder) {
            return Err(refuse(&entry.relative_path, Refusal::ShortPlaceholder));
        }
        listed.push(ListedPath { path, entry });
    }
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    check_tree(&archive.name, listed.iter().map(|listed| (&listed.path, listed.entry.path_type)))?;
    Ok(listed)
}

fn too_many(archive: &Archive) -> Error {
    Error::TooBig { package: archive.name.clone(), what: "paths", limit: archive.max_paths() }
}

/// `PathsJson`, but with any version, and without limits of its own.
#[derive(Deserialize)]
struct BoundedPathsJson {
    paths: Vec<PathsEntry>,
    #[serde(rename = "paths_version")]
    _version: u64,
}
