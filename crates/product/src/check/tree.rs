//! Everything that is in a product, compared with its lists and with what should be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use pixi_oci_layer::{Digest, TreePath};
use pixi_oci_platform::{Links, read};
use rayon::prelude::*;

use super::expected::{Expected, digest};
use crate::{
    DIGEST, Error, FILES, INSTALLED, MANIFEST, ProductManifest, SHA256SUMS,
    sums::{MAX_LIST, files_line, sorted, sums_line},
    writer::{Listed, MAX_DEPTH, path},
};

/// Enough to see what is wrong.
const MAX_PROBLEMS: usize = 1000;
const CHANGED: &str = "it was changed";

/// Each thing once, in the order of paths.
#[derive(Default)]
pub(super) struct Problems(pub(super) BTreeSet<String>);

impl Problems {
    pub(super) fn add(&mut self, path: impl std::fmt::Display, what: &str) {
        if self.0.len() < MAX_PROBLEMS {
            self.0.insert(format!("{path}: {what}"));
        }
    }
}

#[derive(Default)]
pub(super) struct ProductTree {
    pub(super) entries: BTreeMap<TreePath, Listed>,
    /// Directories in which nothing is.
    empty: Vec<TreePath>,
}

impl ProductTree {
    pub(super) fn read(root: &Path, problems: &mut Problems) -> Self {
        let mut found = Self::default();
        let mut files = Vec::new();
        found.walk(root, Path::new(""), 0, &mut files, problems);
        // A file system without permissions gives all files the same ones.
        let bits = |metadata: &Metadata| metadata.permissions().mode() & 0o7777;
        let alike = files.windows(2).all(|pair| bits(&pair[0].1) == bits(&pair[1].1));
        for (path, metadata) in &files {
            if bits(metadata) > 0o777 {
                problems.add(path, "it has a set-id or sticky bit");
            }
        }
        let hashed: Vec<io::Result<Digest>> =
            files.par_iter().map(|(path, _)| digest(&root.join(path.as_str()))).collect();
        for ((path, metadata), digest) in files.into_iter().zip(hashed) {
            match digest {
                Ok(digest) => {
                    let mode = (!alike).then(|| bits(&metadata));
                    found.entries.insert(path, Listed::File { digest, mode });
                }
                Err(error) => problems.add(&path, &error.to_string()),
            }
        }
        found
    }

    fn walk(
        &mut self,
        root: &Path,
        below: &Path,
        depth: usize,
        files: &mut Vec<(TreePath, Metadata)>,
        problems: &mut Problems,
    ) {
        let shown = below.display();
        let entries = match fs::read_dir(root.join(below)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) if depth < MAX_DEPTH => entries,
            Ok(_) => return problems.add(shown, &format!("directories nest deeper than {MAX_DEPTH}")),
            Err(error) => return problems.add(shown, &error.to_string()),
        };
        if entries.is_empty() {
            self.empty.extend(below.to_str().and_then(|text| path(text).ok()));
        }
        for entry in entries {
            let at = below.join(entry.file_name());
            if at == Path::new(INSTALLED) {
                continue;
            }
            let name = at.to_str().and_then(|text| path(text).ok());
            let (Some(name), Ok(metadata)) = (name, entry.metadata()) else {
                problems.add(PathBuf::from(&at).as_os_str().as_bytes().escape_ascii(), "a product has no such path");
                continue;
            };
            if metadata.is_dir() {
                self.walk(root, &at, depth + 1, files, problems);
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned();
                self.entries.insert(name, Listed::Symlink { target });
            } else if metadata.is_file() {
                files.push((name, metadata));
            } else {
                problems.add(name, "it is neither a file, nor a directory, nor a link");
            }
        }
    }

    /// Compares with the product's lists, which must be letter by letter what they are for what is there. Gives the digest.
    pub(super) fn lists(&self, directory: &Path, problems: &mut Problems) -> Digest {
        let lines: Vec<String> = self.entries.iter().map(|(path, listed)| files_line(path.as_str(), listed)).collect();
        let sums: BTreeSet<String> = self
            .entries
            .iter()
            .filter_map(|(path, listed)| match listed {
                Listed::File { digest, .. } if ![SHA256SUMS, DIGEST].contains(&path.as_str()) => {
                    Some(sums_line(path.as_str(), digest))
                }
                _ => None,
            })
            .collect();
        let read = |name: &str| match self.entries.iter().find(|(path, _)| path.as_str() == name) {
            Some((_, Listed::File { .. })) => read_list(&directory.join(name)).unwrap_or_default(),
            _ => String::new(),
        };
        let (digest, listed_sums, listed_files) = (read(DIGEST), read(SHA256SUMS), read(FILES));
        let own = Digest::of(listed_sums.as_bytes());
        if digest != format!("{own}\n") {
            problems.add(SHA256SUMS, &format!("it is not the list that {DIGEST} names"));
        }
        let there = lines.iter().map(String::as_str).collect();
        differences(FILES, &listed_files, &there, entry_of_files, problems);
        differences(SHA256SUMS, &listed_sums, &sums.iter().map(String::as_str).collect(), entry_of_sums, problems);
        if problems.0.is_empty() && listed_files != sorted(lines) {
            problems.add(FILES, "its lines are not in order, or there twice");
        }
        own
    }

    /// Compares with what the manifest says.
    pub(super) fn closed_world(
        &self,
        directory: &Path,
        manifest: &ProductManifest,
        version: &str,
        problems: &mut Problems,
    ) -> Result<(), Error> {
        let mut expected = Expected::default();
        expected.manifest(directory, manifest, version)?;
        for changed in &expected.changed {
            problems.add(changed, CHANGED);
        }
        for (path, there) in &self.entries {
            match expected.files.get(path) {
                Some(Some(wanted)) if !wanted.is(there) => problems.add(path, wanted.difference(there)),
                Some(_) => {}
                None if [FILES, SHA256SUMS, DIGEST].contains(&path.as_str()) => {}
                None => problems.add(path, "it is not of a package, not of the project and not generated"),
            }
        }
        for path in expected.files.keys().filter(|path| !self.entries.contains_key(*path)) {
            problems.add(path, "it is missing");
        }
        for path in self.empty.iter().filter(|path| !expected.directories.contains(*path)) {
            problems.add(path, "it is an empty directory that does not belong to the product");
        }
        let lock = path(&format!("{}/pixi.lock", manifest.name))?;
        if !matches!(self.entries.get(&lock), Some(Listed::File { digest, .. }) if *digest == manifest.lock_file_digest)
        {
            problems.add(lock, &format!("it is not the one that {MANIFEST} names"));
        }
        Ok(())
    }
}

/// What differs between a list and what is there.
fn differences(
    list: &str,
    text: &str,
    there: &BTreeSet<&str>,
    path_of: fn(&str) -> Option<&str>,
    problems: &mut Problems,
) {
    let listed: BTreeSet<&str> = text.split_inclusive('\n').collect();
    let names = |lines: &BTreeSet<&str>| -> BTreeSet<String> {
        lines.iter().filter_map(|line| path_of(line)).map(str::to_owned).collect()
    };
    let (known, present) = (names(&listed), names(there));
    for line in listed.difference(there) {
        match path_of(line) {
            Some(path) if present.contains(path) => problems.add(path, CHANGED),
            Some(path) => problems.add(path, "it is missing"),
            None => problems.add(list, &format!("{:?} is not one of its lines", line.trim_end())),
        }
    }
    for path in there.difference(&listed).filter_map(|line| path_of(line)).filter(|path| !known.contains(*path)) {
        problems.add(path, "it does not belong to the product");
    }
}

/// `f PATH` or `l PATH -> TARGET`.
fn entry_of_files(line: &str) -> Option<&str> {
    let line = line.strip_suffix('\n')?;
    line.strip_prefix("f ").or_else(|| line.strip_prefix("l ")?.split_once(" -> ").map(|(path, _)| path))
}

/// GNU's `sha256sum`: 64 digits, two spaces, the path as it is escaped.
fn entry_of_sums(line: &str) -> Option<&str> {
    let line = line.strip_suffix('\n')?;
    let line = line.strip_prefix('\\').unwrap_or(line);
    line.get(64..)?.strip_prefix("  ")
}

fn read_list(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path, Links::Refuse, MAX_LIST)?).into_owned())
}
