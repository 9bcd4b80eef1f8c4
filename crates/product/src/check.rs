//! Accounts for every byte of a product.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pixi_oci_layer::{Digest, DigestWriter, TreePath};
use pixi_oci_package::{Unpacked, UnpackedKind, unpack};
use pixi_oci_platform::{Links, open};

use crate::{
    ARCHIVES, DIGEST, Error, FILES, INSTALLED, MANIFEST, PKG_CACHE, PackageEntry, ProductFile, ProductManifest,
    SHA256SUMS, ScriptInput,
    cache::{entry_path, global_lock, lock_bytes},
    read_manifest, scripts,
    sums::{files_line, sorted, sums_line},
    writer::{Listed, path},
};

/// A file or link that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In the product.
    pub path: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads everything in the product at `directory`, and says what is wrong; nothing, if it is as it was made.
///
/// A file is accounted for if it is what unpacking a package's archive gives, whose digest the product's manifest has; if that
/// manifest lists it with its digest; or if this crate generates it. `version` is this program's: scripts are compared with what
/// it would write if it is the one that made the product.
///
/// # Errors
/// The product cannot be read, or has no manifest.
pub fn check(directory: &Path, version: &str) -> Result<Vec<Problem>, Error> {
    let manifest = read_manifest(directory)?;
    let found = found(directory)?;
    let mut expected = Expected::default();
    expected.manifest(directory, &manifest, version)?;
    expected.lists(&found);

    let mut problems = expected.problems;
    for (path, there) in &found {
        match expected.files.get(path) {
            Some(Some(wanted)) if wanted != there => problems.push(problem(path.as_str(), "was changed")),
            Some(_) => {}
            None => problems.push(problem(path.as_str(), "is not of a package, not of the project and not generated")),
        }
    }
    for path in expected.files.keys().filter(|path| !found.contains_key(*path)) {
        problems.push(problem(path.as_str(), "is missing"));
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

fn problem(path: &str, what: &'static str) -> Problem {
    Problem { path: path.into(), what }
}

/// Everything that is there.
fn found(root: &Path) -> Result<BTreeMap<TreePath, Listed>, Error> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let at = root.join(&directory);
        for entry in fs_err::read_dir(&at).map_err(Error::io("read", &at))? {
            let entry = entry.map_err(Error::io("read", &at))?;
            let below = directory.join(entry.file_name());
            if below == Path::new(INSTALLED) {
                continue;
            }
            let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
            if kind.is_dir() {
                directories.push(below);
                continue;
            }
            let path = path(&below.to_string_lossy())?;
            let listed = if kind.is_symlink() {
                let target = fs_err::read_link(entry.path()).map_err(Error::io("read", entry.path()))?;
                Listed::Symlink { target: target.to_string_lossy().into_owned() }
            } else {
                let (digest, executable) = digest(&entry.path()).map_err(Error::io("read", entry.path()))?;
                Listed::File { digest, executable }
            };
            found.insert(path, listed);
        }
    }
    Ok(found)
}

fn digest(path: &Path) -> io::Result<(Digest, bool)> {
    let mut file = open(path, Links::Refuse)?;
    let metadata = file.metadata()?;
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut file, &mut writer)?;
    Ok((writer.finish().0, metadata.permissions().mode() & 0o100 != 0))
}

/// What should be there. `None` is for files that vary in a way that was checked otherwise.
#[derive(Default)]
struct Expected {
    files: BTreeMap<TreePath, Option<Listed>>,
    problems: Vec<Problem>,
}

impl Expected {
    fn manifest(&mut self, directory: &Path, manifest: &ProductManifest, version: &str) -> Result<(), Error> {
        self.files.insert(path(MANIFEST)?, None);
        for platform in &manifest.platforms {
            let empty = Listed::File { digest: Digest::of(b""), executable: false };
            self.files.insert(global_lock(platform)?, Some(empty));
        }
        let mut seen = BTreeSet::new();
        for environment in &manifest.environments {
            for package in environment.packages.iter().filter(|package| seen.insert(&package.archive)) {
                self.package(directory, &environment.subdir, package)?;
            }
        }
        for file in manifest.project.iter().chain(&manifest.resources).chain(&manifest.programs) {
            self.listed(file)?;
        }
        let mut environments: Vec<String> = manifest.environments.iter().map(|e| e.name.clone()).collect();
        environments.dedup();
        let input = ScriptInput {
            name: &manifest.name,
            workspace_manifest: &manifest.workspace_manifest,
            environments: &environments,
        };
        for (name, text) in scripts::scripts(&input) {
            let script =
                Listed::File { digest: Digest::of(text.as_bytes()), executable: name.starts_with("bootstrap") };
            self.files.insert(path(name)?, (manifest.pixi_oci == version).then_some(script));
        }
        Ok(())
    }

    fn listed(&mut self, file: &ProductFile) -> Result<(), Error> {
        let listed = match (&file.digest, &file.target) {
            (Some(digest), _) => Listed::File { digest: *digest, executable: file.executable },
            (None, target) => Listed::Symlink { target: target.clone().unwrap_or_default() },
        };
        self.files.insert(path(&file.path)?, Some(listed));
        Ok(())
    }

    fn package(&mut self, directory: &Path, platform: &str, package: &PackageEntry) -> Result<(), Error> {
        let archive = path(&package.archive)?;
        let file = |digest, executable| Some(Listed::File { digest, executable });
        self.files.insert(archive.clone(), file(package.digest, false));
        if !archive.as_str().starts_with(&format!("{PKG_CACHE}/{platform}/{ARCHIVES}/")) {
            return Ok(());
        }
        let key = format!("{}-{}-{}", package.name, package.version, package.build.as_deref().unwrap_or_default());
        let entry = entry_path(platform, &key)?;
        self.files.insert(path(&format!("{entry}.lock"))?, file(Digest::of(&lock_bytes(&package.digest)), false));
        let at = directory.join(archive.as_str());
        // One that is not what the manifest says is a problem that is found anyway; what is in it proves nothing.
        if !digest(&at).is_ok_and(|(digest, _)| digest == package.digest) {
            self.problems.push(problem(archive.as_str(), "was changed"));
            return Ok(());
        }
        let files = &mut self.files;
        unpack(&at, &key, &mut |item| unpacked(files, &entry, item))?
    }

    /// The lists, as they are for what was found: a change elsewhere is a change of them.
    fn lists(&mut self, found: &BTreeMap<TreePath, Listed>) {
        let lines: Vec<String> = found.iter().map(|(path, listed)| files_line(path.as_str(), listed)).collect();
        let sums = found.iter().filter_map(|(path, listed)| match listed {
            Listed::File { digest, .. } if ![SHA256SUMS, DIGEST].contains(&path.as_str()) => {
                Some(sums_line(path.as_str(), digest))
            }
            _ => None,
        });
        let sums: String = sums.collect();
        let digest = format!("{}\n", Digest::of(sums.as_bytes()));
        for (name, text) in [(FILES, sorted(lines)), (SHA256SUMS, sums), (DIGEST, digest)] {
            if let Ok(path) = path(name) {
                let listed = Listed::File { digest: Digest::of(text.as_bytes()), executable: false };
                self.files.insert(path, Some(listed));
            }
        }
    }
}

fn unpacked(
    files: &mut BTreeMap<TreePath, Option<Listed>>,
    directory: &TreePath,
    item: Unpacked<'_>,
) -> Result<(), Error> {
    let at = path(&format!("{directory}/{}", item.path))?;
    let listed = match item.kind {
        UnpackedKind::Directory => return Ok(()),
        UnpackedKind::Symlink(target) => Listed::Symlink { target },
        UnpackedKind::HardLink(target) => {
            let target = path(&format!("{directory}/{target}"))?;
            let same = files.get(&target).cloned().flatten();
            files.insert(at, same);
            return Ok(());
        }
        UnpackedKind::File(body) => {
            let mut writer = DigestWriter::new(io::sink());
            io::copy(body, &mut writer).map_err(Error::io("unpack", at.as_str()))?;
            Listed::File { digest: writer.finish().0, executable: item.mode & 0o100 != 0 }
        }
    };
    files.insert(at, Some(listed));
    Ok(())
}
