//! The list of paths that are to be linked: `info/paths.json`, or what came before it.

use std::{collections::HashMap, fmt, path::Path};

use pixi_oci_layer::TreePath;
use rattler_conda_types::package::{
    Files, HasPrefix, NoLink, NoSoftlink, PackageFile, PathType, PathsEntry, PathsJson,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};

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

/// As many as an archive may have entries.
const MAX_PATHS: usize = 1_000_000;

/// The paths of `info/paths.json`.
pub(super) fn from_json(archive: &Archive, json: &[u8]) -> Result<Vec<ListedPath>, Error> {
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
    if listed.files.len() > MAX_PATHS {
        return Err(Error::info(&archive.name, "info/files", TOO_MANY));
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
        listed.push(ListedPath { path, entry });
    }
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    check_tree(&archive.name, listed.iter().map(|listed| (&listed.path, listed.entry.path_type)))?;
    Ok(listed)
}

const TOO_MANY: &str = "it lists more than 1,000,000 paths";

/// `PathsJson`, but a short text cannot become gigabytes of entries.
#[derive(Deserialize)]
struct BoundedPathsJson {
    #[serde(deserialize_with = "bounded")]
    paths: Vec<PathsEntry>,
    #[serde(rename = "paths_version")]
    _version: u64,
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathsEntry>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<PathsEntry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of paths")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut paths = Vec::new();
            while let Some(path) = seq.next_element()? {
                if paths.len() == MAX_PATHS {
                    return Err(de::Error::custom(TOO_MANY));
                }
                paths.push(path);
            }
            Ok(paths)
        }
    }

    deserializer.deserialize_seq(Visitor)
}
