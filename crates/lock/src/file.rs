//! `pixi.lock`, formats 4 to 7. It is only read, never written.

pub(crate) mod package;
mod platform;

pub use package::{ArchiveLocation, LockedPackage, LockedWheel, PypiSourceKind, WheelOrigin};
pub use platform::{LockedPlatform, PlatformWanted};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rattler_lock::ParseCondaLockError;

use crate::{Error, Sha256};
use pixi_oci_net::redact_text;
use pixi_oci_workspace::{ManifestPlatform, VirtualPackage, Workspace, read_text};

/// The biggest lock file in the wild has a few megabytes.
pub(crate) const MAX_LOCK_FILE: u64 = 128 << 20;

/// The formats whose environments can be read: 4 was the first with several of them.
const FORMATS: std::ops::RangeInclusive<u64> = 4..=7;

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
}

impl LockFile {
    /// Reads a workspace's lock file; its platforms get the names they have in the manifest.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn of(workspace: &Workspace) -> Result<Self, Error> {
        let mut lock = Self::read(&workspace.lock_path)?.with_platform_names(&workspace.platforms);
        let hashes = workspace.oci.hashes.iter().filter_map(|(name, hash)| Some((name.clone(), hash.parse().ok()?)));
        lock.hashes = hashes.collect();
        Ok(lock)
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// None there; too old or too new a format; not a lock file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        match read_text(path, MAX_LOCK_FILE) {
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
        Ok(Self { path: path.to_owned(), directory, inner, names: Vec::new(), hashes: BTreeMap::new() })
    }

    /// Gives the platforms the names under which the workspace declares them.
    ///
    /// Pixi writes rich platforms under invented names (`p1`, `p2`, …) and finds them again by subdir and virtual packages;
    /// so do we.
    pub fn with_platform_names(mut self, platforms: &[ManifestPlatform]) -> Self {
        self.names = platforms.to_vec();
        self
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format version, 4 to 7.
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

    /// The linux platforms an environment is locked for, sorted by name.
    pub fn platforms(&self, environment: &str) -> Result<Vec<LockedPlatform>, Error> {
        let all: Vec<_> = self.inner.platforms().collect();
        let mut platforms: Vec<_> = self
            .environment(environment)?
            .platforms()
            .filter(|platform| platform.subdir().is_linux())
            .map(|platform| platform::locked_platform(platform, &all, &self.names))
            .collect();
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
        platform::select(environment, &self.platforms(environment)?, wanted, assumed)
    }

    /// The packages of an environment on one of its platforms, in the lock file's order: conda archives, conda sources,
    /// Python packages, each by location. (Pixi writes them so, and `rattler_lock` sorts them so if somebody did not.)
    ///
    /// # Errors
    /// Two packages of one name; a conda package without sha256; a location that cannot be understood.
    pub fn packages(&self, environment: &str, platform: &LockedPlatform) -> Result<Vec<LockedPackage>, Error> {
        let locked = self.environment(environment)?;
        let row = self.inner.platform(&platform.lock_name).and_then(|row| locked.packages(row));
        let Some(packages) = row else {
            return Err(Error::NoPlatform {
                environment: environment.to_owned(),
                wanted: format!("platform `{}`", platform.name),
                available: self.platforms(environment)?.into_iter().map(|p| p.name).collect(),
            });
        };
        package::read(&self.path, &self.directory, &self.hashes, packages)
    }

    /// All platforms an environment is locked for, whatever can be made of them; none if it is not locked.
    pub(crate) fn all_platforms(&self, environment: &str) -> Vec<LockedPlatform> {
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
