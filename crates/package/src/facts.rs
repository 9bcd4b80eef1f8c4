//! What the plan needs to know of a package, and nothing of its contents.
//!
//! Facts are small and the same whoever reads them out of the archive, so they can be kept in a cache and carried by an
//! image: with them, all decisions between packages can be made while most archives are somewhere else.

use std::collections::BTreeMap;

use pixi_oci_layer::TreePath;
use pixi_oci_platform::escape;
use rattler_conda_types::{
    PackageRecord,
    package::{EntryPoint, PathType},
};
use serde::{Deserialize, Serialize, Serializer};

use crate::{archive::Archive, check::check_tree, error::Error, info::PackageInfo, path::normalise};

/// Symbolic links and their targets, by path.
pub type Links = BTreeMap<TreePath, String>;

/// The paths of a package, and how they are linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// The package's file name, as in errors: `numpy-2.1.0-py312h1234567_0.conda`.
    pub file_name: String,
    /// Whether it is `noarch: python`.
    pub is_noarch_python: bool,
    /// Every path that is to be linked, in the order of [`PackageInfo::paths`]: of paths.
    pub paths: Vec<(TreePath, PathType)>,
    /// The scripts of a `noarch: python` package that are made while it is linked.
    pub entry_points: Vec<EntryPoint>,
    /// Scripts that conda would run when it links or unlinks the package.
    pub link_scripts: Vec<TreePath>,
}

/// Facts with the targets of all symbolic links, which are only known when the whole archive was read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Stored<StoredPath, String>")]
pub struct CompleteFacts {
    /// Everything but the targets.
    pub facts: PackageFacts,
    /// The targets of the links, by where they are in the package.
    pub links: Links,
}

/// A path that a wheel has below the prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WheelPath {
    /// Relative to the prefix.
    pub path: TreePath,
    /// Whether it is a directory that has nothing in it.
    pub is_directory: bool,
}

/// The paths of a wheel in an environment with a certain Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredWheel")]
pub struct WheelFacts {
    /// The wheel's file name, as in errors.
    pub file_name: String,
    /// Everything that it has below the prefix, but not the directories above it.
    pub paths: Vec<WheelPath>,
}

#[derive(Deserialize)]
struct StoredWheel {
    file_name: String,
    paths: Vec<WheelPath>,
}

impl TryFrom<StoredWheel> for WheelFacts {
    type Error = Error;

    fn try_from(stored: StoredWheel) -> Result<Self, Error> {
        let file_name = escape(&stored.file_name);
        for WheelPath { path, .. } in &stored.paths {
            normalise(path.as_str()).map_err(|refusal| Error::path(&file_name, path.as_str(), refusal))?;
        }
        let mut sorted = stored.paths.clone();
        sorted.sort();
        let kind = |path: &WheelPath| if path.is_directory { PathType::Directory } else { PathType::HardLink };
        check_tree(&file_name, sorted.iter().map(|path| (&path.path, kind(path))))?;
        Ok(Self { file_name, paths: stored.paths })
    }
}

impl PackageFacts {
    /// Whether the facts were read for the package that the record locks. An archive's hash alone does not tell: a lock file
    /// can name it as another package, which is found out by reading it.
    pub fn is_of(&self, record: &PackageRecord) -> bool {
        let stem = Archive::name_of(record);
        self.file_name.strip_prefix(&stem).is_some_and(|rest| matches!(rest, "" | ".conda" | ".tar.bz2"))
    }
}

impl WheelFacts {
    /// Whether the facts were read for the wheel of that file name.
    pub fn is_of(&self, file_name: &str) -> bool {
        self.file_name == escape(file_name)
    }
}

impl PackageInfo {
    /// What the plan needs to know.
    pub fn facts(&self) -> PackageFacts {
        PackageFacts {
            file_name: self.file_name.clone(),
            is_noarch_python: self.index.noarch.is_python(),
            paths: self.paths.iter().map(|listed| (listed.path.clone(), listed.entry.path_type)).collect(),
            entry_points: self.entry_points.clone(),
            link_scripts: self.link_scripts.clone(),
        }
    }
}

/// The form in files: JSON, which says of each path once what it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[serde(bound(deserialize = "Path: Deserialize<'de>, Text: Deserialize<'de>"))]
struct Stored<Path: Ord, Text> {
    file_name: Text,
    #[serde(default, skip_serializing_if = "is_false")]
    noarch_python: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<Path>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    directories: Vec<Path>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    links: BTreeMap<Path, Text>,
    /// `COMMAND = MODULE:FUNCTION`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entry_points: Vec<EntryPoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    link_scripts: Vec<Path>,
}

/// A path from outside, checked as the lists of an archive are.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct StoredPath(TreePath);

impl TryFrom<String> for StoredPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        normalise(&text).map(Self).map_err(|refusal| format!("{}: {refusal}", escape(&text)))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Serialize for CompleteFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { facts, links } = self;
        let of = |wanted: PathType| {
            facts.paths.iter().filter(move |(_, kind)| *kind == wanted).map(|(path, _)| path.as_str()).collect()
        };
        let stored: Stored<&str, &str> = Stored {
            noarch_python: facts.is_noarch_python,
            files: of(PathType::HardLink),
            directories: of(PathType::Directory),
            links: links.iter().map(|(path, target)| (path.as_str(), target.as_str())).collect(),
            link_scripts: facts.link_scripts.iter().map(TreePath::as_str).collect(),
            entry_points: facts.entry_points.clone(),
            file_name: &facts.file_name,
        };
        stored.serialize(serializer)
    }
}

impl TryFrom<Stored<StoredPath, String>> for CompleteFacts {
    type Error = Error;

    fn try_from(stored: Stored<StoredPath, String>) -> Result<Self, Error> {
        let name = escape(&stored.file_name);
        let links: Links = stored.links.into_iter().map(|(StoredPath(path), target)| (path, target)).collect();
        let mut paths = Vec::with_capacity(links.len() + stored.files.len() + stored.directories.len());
        paths.extend(links.keys().map(|path| (path.clone(), PathType::SoftLink)));
        paths.extend(stored.files.into_iter().map(|StoredPath(path)| (path, PathType::HardLink)));
        paths.extend(stored.directories.into_iter().map(|StoredPath(path)| (path, PathType::Directory)));
        paths.sort_by(|a, b| a.0.cmp(&b.0));
        check_tree(&name, paths.iter().map(|(path, kind)| (path, *kind)))?;
        Ok(Self {
            facts: PackageFacts {
                is_noarch_python: stored.noarch_python,
                paths,
                entry_points: stored.entry_points,
                link_scripts: stored.link_scripts.into_iter().map(|StoredPath(path)| path).collect(),
                file_name: name,
            },
            links,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = r#"{"fileName":"a-1-0.conda","noarchPython":true,"files":["bin/a","lib/liba.so.1"],"directories":["share/a"],"links":{"lib/liba.so":"liba.so.1"},"entryPoints":["run = a.cli:main"],"linkScripts":["bin/.a-post-link.sh"]}"#;

    #[test]
    fn stored_facts_are_the_same_text_when_they_are_stored_again() {
        let facts: CompleteFacts = serde_json::from_str(STORED).unwrap();
        let paths: Vec<&str> = facts.facts.paths.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["bin/a", "lib/liba.so", "lib/liba.so.1", "share/a"]);
        assert_eq!(serde_json::to_string(&facts).unwrap(), STORED);
    }

    #[test]
    fn paths_of_stored_facts_are_checked() {
        for (from, to) in [
            ("bin/a\"", "../a\""),
            ("bin/a\"", "/bin/a\""),
            ("share/a", "conda-meta/a"),
            ("share/a", "bin/a"),
            ("bin/a\"", "share/a\""),
            ("bin/a\"", "lib/liba.so/x\""),
        ] {
            let text = STORED.replacen(from, to, 1);
            assert_ne!(text, STORED);
            assert!(serde_json::from_str::<CompleteFacts>(&text).is_err(), "{text}");
        }
    }
}
