//! `pixi.lock`, formats 1 to 7. It is only read, never written.

mod nesting;
pub(crate) mod package;
mod platform;

pub use package::{ArchiveLocation, LockedPackage, LockedWheel, PypiSourceKind, WheelOrigin, normalize};
pub use platform::{LockedPlatform, PlatformWanted};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rattler_lock::ParseCondaLockError;

use crate::{Error, Sha256, wanted};
use pixi_oci_net::redact_text;
use pixi_oci_workspace::{ManifestPlatform, VirtualPackage, Workspace, read_text};

/// The biggest lock file in the wild has a few megabytes.
pub(crate) const MAX_LOCK_FILE: u64 = 128 << 20;

/// That of somebody else is parsed for nothing but a comparison.
const MAX_FOREIGN_LOCK_FILE: u64 = 16 << 20;

/// The formats that can be read; up to 3 there is only the environment `default`.
const FORMATS: std::ops::RangeInclusive<u64> = 1..=7;

/// A lock file, and the names the workspace has for its platforms.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
    /// What relative paths in the lock file are relative to; absolute.
    directory: PathBuf,
    inner: rattler_lock::LockFile,
    names: Vec<ManifestPlatform>,
    /// What packages must be that are locked without a sha256, by [`LockedPackage::name`].
    hashes: BTreeMap<String, Sha256>,
    /// The platforms that the manifest declares for each environment.
    declared: BTreeMap<String, Vec<DeclaredPlatform>>,
}

/// A platform of an environment as the manifest has it.
#[derive(Debug, Clone)]
struct DeclaredPlatform {
    platform: ManifestPlatform,
    /// The name that pixi gives it, with what `[system-requirements]` add.
    derived_name: String,
    /// Whether nothing is required on it: lock files do not mention it then.
    is_empty: bool,
}

impl LockFile {
    /// Reads a workspace's lock file; its platforms get the names they have in the manifest.
    pub fn of(workspace: &Workspace) -> Result<Self, Error> {
        let mut lock = Self::read(&workspace.lock_path())?.with_platform_names(&workspace.platforms);
        let hashes = workspace.oci.hashes.iter().filter_map(|(name, hash)| Some((name.clone(), hash.parse().ok()?)));
        lock.hashes = hashes.collect();
        // What is wrong in the manifest is an error when the two are compared.
        for name in workspace.environments.keys() {
            let platforms = workspace.environment_platforms(name).unwrap_or_default().into_iter();
            let declared = platforms.filter_map(|platform| declared(workspace, name, platform));
            lock.declared.insert(name.clone(), declared.collect());
        }
        Ok(lock)
    }

    /// Reads a lock file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_at_most(path, MAX_LOCK_FILE)
    }

    /// Reads a lock file that came out of an image.
    pub fn read_foreign(path: &Path) -> Result<Self, Error> {
        Self::read_at_most(path, MAX_FOREIGN_LOCK_FILE)
    }

    fn read_at_most(path: &Path, limit: u64) -> Result<Self, Error> {
        match read_text(path, limit) {
            Ok(text) => Self::parse(path, &text),
            Err(pixi_oci_workspace::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::NoLockFile { path: path.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the text of a lock file; relative paths in it are relative to the directory of `path`.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let absolute = std::path::absolute(path).map_err(|source| pixi_oci_workspace::Error::Io {
            action: "find",
            path: path.to_owned(),
            source,
        })?;
        let directory = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        // Before parsing, because an unknown format fails in ways that do not mention it.
        if let Some(version) = version_line(text) {
            check_version(path, version)?;
        }
        nesting::check(text).map_err(|message| Error::LockFile { path: path.to_owned(), message })?;
        let inner =
            rattler_lock::LockFile::from_str_with_base_directory(text, Some(&directory)).map_err(|e| match e {
                ParseCondaLockError::IncompatibleVersion { lock_file_version, .. } => {
                    Error::LockFileTooNew { path: path.to_owned(), version: lock_file_version }
                }
                error => Error::LockFile {
                    path: path.to_owned(),
                    message: format!(
                        "it is no whole lock file, perhaps cut off or changed by hand ({})",
                        redact_text(&error.to_string())
                    ),
                },
            })?;
        check_version(path, inner.version() as u64)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            inner,
            names: Vec::new(),
            hashes: BTreeMap::new(),
            declared: BTreeMap::new(),
        })
    }

    /// Gives the platforms the names under which the workspace declares them.
    ///
    /// Pixi writes rich platforms under invented names (`p1`, `p2`, …) and finds them again by subdir and virtual packages;
    /// so do we.
    pub fn with_platform_names(mut self, platforms: &[ManifestPlatform]) -> Self {
        self.names = platforms.to_vec();
        self
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format version, 1 to 7.
    pub fn version(&self) -> u64 {
        self.inner.version() as u64
    }

    /// The names of the locked environments, sorted.
    pub fn environments(&self) -> Vec<String> {
        let mut names: Vec<_> = self.inner.environments().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// The channels of an environment as the lock file has them (URLs), highest priority first.
    pub fn channels(&self, environment: &str) -> Result<Vec<String>, Error> {
        Ok(self.environment(environment)?.channels().iter().map(|channel| channel.url.clone()).collect())
    }

    /// The linux platforms an environment is locked for, sorted by name. Those on which nothing is required count, too.
    pub fn platforms(&self, environment: &str) -> Result<Vec<LockedPlatform>, Error> {
        let all: Vec<_> = self.inner.platforms().collect();
        let mut platforms: Vec<_> = self
            .environment(environment)?
            .platforms()
            .filter(|platform| platform.subdir().is_linux())
            .map(|platform| platform::locked_platform(platform, &all, &self.names))
            .collect();
        let empty = self.declared.get(environment).into_iter().flatten().filter(|declared| declared.is_empty);
        for declared in empty.filter_map(|declared| LockedPlatform::without_packages(&declared.platform)) {
            if declared.subdir.is_linux() && !platforms.iter().any(|platform| platform.name == declared.name) {
                platforms.push(declared);
            }
        }
        platforms.sort_by(|a, b| (&a.name, &a.lock_name).cmp(&(&b.name, &b.lock_name)));
        Ok(platforms)
    }

    /// The one platform of an environment that is meant; see [`PlatformWanted`] for the rules. `assumed` is what the
    /// target is said to have (`--virtual-package`, configuration, system requirements), never what the host has.
    pub fn select_platform(
        &self,
        environment: &str,
        wanted: &PlatformWanted,
        assumed: &[VirtualPackage],
    ) -> Result<LockedPlatform, Error> {
        let declared = self.declared.get(environment).into_iter().flatten();
        let derived = declared.into_iter().find(|declared| match wanted {
            PlatformWanted::Name(name) => declared.derived_name == *name,
            PlatformWanted::Subdir(_) => false,
        });
        let named = derived.map(|declared| PlatformWanted::Name(declared.platform.name.clone()));
        platform::select(environment, &self.platforms(environment)?, named.as_ref().unwrap_or(wanted), assumed)
    }

    pub fn has_packages(&self, environment: &str) -> bool {
        let Some(locked) = self.inner.environment(environment) else { return false };
        locked.packages_by_platform().any(|(_, mut packages)| packages.next().is_some())
    }

    /// The packages of an environment on one of its platforms, in the lock file's order: conda archives, conda sources,
    /// Python packages, each by location. (Pixi writes them so, and `rattler_lock` sorts them so if somebody did not.)
    pub fn packages(&self, environment: &str, platform: &LockedPlatform) -> Result<Vec<LockedPackage>, Error> {
        let locked = self.environment(environment)?;
        let row = self.inner.platform(&platform.lock_name).and_then(|row| locked.packages(row));
        let Some(packages) = row else {
            if self.platforms(environment)?.contains(platform) {
                return Ok(Vec::new());
            }
            return Err(Error::NoPlatform {
                environment: environment.to_owned(),
                wanted: format!("platform `{}`", platform.name),
                available: self.platforms(environment)?.into_iter().map(|p| p.name).collect(),
            });
        };
        package::read(&self.path, &self.directory, &self.hashes, packages)
    }

    /// All platforms an environment is locked for, whatever can be made of them; none if it is not locked.
    pub fn all_platforms(&self, environment: &str) -> Vec<LockedPlatform> {
        let all: Vec<_> = self.inner.platforms().collect();
        let Some(locked) = self.inner.environment(environment) else { return Vec::new() };
        let mut platforms: Vec<_> =
            locked.platforms().map(|platform| platform::locked_platform(platform, &all, &self.names)).collect();
        platforms.sort_by(|a, b| (&a.name, &a.lock_name).cmp(&(&b.name, &b.lock_name)));
        platforms
    }

    /// The environment as `rattler_lock` has it.
    pub(crate) fn inner(&self, environment: &str) -> Option<rattler_lock::Environment<'_>> {
        self.inner.environment(environment)
    }

    /// The packages of an environment as `rattler_lock` has them.
    pub(crate) fn inner_packages(
        &self,
        environment: &str,
        platform: &LockedPlatform,
    ) -> Vec<&rattler_lock::LockedPackage> {
        let (Some(row), Some(locked)) = (self.inner.platform(&platform.lock_name), self.inner.environment(environment))
        else {
            return Vec::new();
        };
        locked.packages(row).into_iter().flatten().collect()
    }

    /// What relative paths in the lock file are relative to.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn environment(&self, name: &str) -> Result<rattler_lock::Environment<'_>, Error> {
        let unknown = || pixi_oci_workspace::Error::UnknownEnvironment {
            path: self.path.clone(),
            name: name.to_owned(),
            known: self.environments(),
        };
        self.inner.environment(name).ok_or_else(|| unknown().into())
    }
}

fn declared(workspace: &Workspace, environment: &str, platform: ManifestPlatform) -> Option<DeclaredPlatform> {
    let wanted = wanted(workspace, environment, &platform).ok()?;
    Some(DeclaredPlatform {
        derived_name: ManifestPlatform::derived_name(&platform.subdir, &wanted.virtual_packages),
        is_empty: wanted.conda.is_empty() && wanted.pypi.is_empty() && wanted.dev.is_empty(),
        platform,
    })
}

/// The version as pixi writes it, on a line of its own.
fn version_line(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("version:")).and_then(|version| version.trim().parse().ok())
}

fn check_version(path: &Path, version: u64) -> Result<(), Error> {
    if version < *FORMATS.start() {
        return Err(Error::LockFileTooOld { path: path.to_owned(), version });
    }
    if version > *FORMATS.end() {
        return Err(Error::LockFileTooNew { path: path.to_owned(), version });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
