//! The files of a project's directory.

use std::{
    collections::BTreeMap,
    fs::Metadata,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{SourceError, not_static::NotStatic};
use pixi_oci_platform::{FileError, Links, is_of_desktop, read};

/// A project with more files is not one that somebody wrote; and the walk ends somewhere.
const MAX_FILES: usize = 100_000;
/// What no backend that is known here ever packs, and what can be huge.
const NEVER: [&str; 13] = [
    "__pycache__",
    ".git",
    ".hatch",
    ".hg",
    ".mypy_cache",
    ".nox",
    ".pixi",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    "node_modules",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFile {
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Its length in bytes.
    pub len: u64,
    /// A link to a directory. Backends disagree on whether to follow it.
    pub linked_directory: bool,
}

/// The files below a directory, by their path from it, with `/`.
#[derive(Debug)]
pub struct Listing {
    pub root: PathBuf,
    files: BTreeMap<String, SourceFile>,
}

impl Listing {
    /// Walks the directory. Links to files are followed, those to directories are only noted.
    pub fn read(root: &Path) -> Result<Self, SourceError> {
        let mut listing = Self { root: root.to_owned(), files: BTreeMap::new() };
        listing.walk(root, "")?;
        Ok(listing)
    }

    fn walk(&mut self, directory: &Path, prefix: &str) -> Result<(), SourceError> {
        let failed = |source| FileError { action: "read", path: directory.into(), source };
        // An OCI layout: images that were built before.
        if !prefix.is_empty() && directory.join("oci-layout").is_file() {
            return Ok(());
        }
        for entry in fs_err::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // No file of a wheel has a name that is not Unicode.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_of_desktop(&name) {
                continue;
            }
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                if !NEVER.contains(&name.as_str()) && !name.starts_with(".pixi-oci-build-") {
                    self.walk(&entry.path(), &path)?;
                }
                continue;
            }
            // A link that leads nowhere is no file to any backend.
            let Ok(metadata) = fs_err::metadata(entry.path()) else { continue };
            if metadata.is_file() || metadata.is_dir() {
                self.files.insert(path, found(&metadata));
            }
            if self.files.len() > MAX_FILES {
                return Err(SourceError::TooManyFiles { directory: self.root.clone(), limit: MAX_FILES });
            }
        }
        Ok(())
    }

    pub fn is_file(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|found| !found.linked_directory)
    }

    /// Whether it is a directory that has files.
    pub fn is_directory(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    pub fn get(&self, path: &str) -> Option<SourceFile> {
        self.files.get(path).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The paths of all files below a directory, which is `""` for the root.
    pub fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let start = prefix.clone();
        self.files.range(start..).map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(&prefix))
    }

    pub fn text(&self, path: &str) -> Result<String, NotStatic> {
        const MAX: u64 = 4 << 20;
        let Some(found) = self.get(path).filter(|found| !found.linked_directory) else {
            return Err(NotStatic(format!("there is no file {path}")));
        };
        if found.len > MAX {
            return Err(NotStatic(format!("{path} is bigger than 4 MiB")));
        }
        let text = read(&self.root.join(path), Links::Follow, MAX).map(String::from_utf8);
        match text {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(_)) => Err(NotStatic(format!("{path} is not UTF-8"))),
            Err(error) => Err(NotStatic(error.to_string())),
        }
    }
}

fn found(metadata: &Metadata) -> SourceFile {
    SourceFile {
        executable: metadata.permissions().mode() & 0o100 != 0,
        len: metadata.len(),
        linked_directory: metadata.is_dir(),
    }
}
