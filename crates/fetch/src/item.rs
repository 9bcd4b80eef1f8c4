//! What is to be fetched, how, and what is told meanwhile.

use std::{io, num::NonZeroUsize, path::Path};

use pixi_oci_lock::{ArchiveLocation, LockedPackage, Sha256};
use pixi_oci_net::{RetryPolicy, redact};

use crate::{CachedArchive, Error};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchItem {
    /// The package's name, for messages.
    pub name: String,
    pub location: ArchiveLocation,
    /// What it must be. Without it (packages that are named by URL or path can lack it) the hash is found out, and
    /// what was once fetched from a URL is what later fetches give.
    pub sha256: Option<Sha256>,
    /// Its md5, 32 lower-case hex digits, if the lock file has that and no sha256. Beside one pixi does not look at it either:
    /// channels are known that publish a wrong one.
    pub md5: Option<String>,
    /// How long it must be, if the lock file says so.
    pub size: Option<u64>,
}

/// What tells two archives apart before they are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ArchiveIdentity {
    /// The lock file has the hash: wherever it comes from.
    Content(Sha256),
    /// It has none.
    Location(ArchiveLocation),
}

#[derive(Clone, Copy)]
pub struct FetchOptions<'a> {
    /// Use no network; files on this machine are still copied.
    pub offline: bool,
    /// So many at a time: the biggest, and the smallest beside it.
    pub concurrency: NonZeroUsize,
    pub retry: RetryPolicy,
    /// Is told what happens, from any thread. It should return quickly.
    pub on_event: &'a (dyn Fn(FetchEvent) + Send + Sync),
}

/// What happens while archives are fetched. `item` is an index into the list that is being fetched; an archive that is
/// listed several times only has events at its first place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent {
    /// The archive is looked for, in the cache first.
    Started { item: usize, name: String, bytes_total: Option<u64> },
    /// So many bytes have arrived; the number falls back when a download begins again.
    Progress { item: usize, bytes: u64 },
    /// The archive is in the cache, verified.
    Finished { item: usize, name: String, archive: CachedArchive, cached: bool },
}

impl FetchItem {
    /// What to fetch for a package; `None` for packages that would have to be built from source.
    pub fn for_package(package: &LockedPackage) -> Option<Self> {
        let location = match package {
            LockedPackage::Conda(record) => ArchiveLocation::Url(record.url.clone()),
            LockedPackage::Wheel(wheel) => wheel.location.clone(),
            LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => return None,
        };
        let md5 = match package {
            LockedPackage::Conda(record) => record.package_record.md5.as_ref().map(hex::encode),
            LockedPackage::Wheel(wheel) => wheel.md5.clone(),
            _ => None,
        };
        let sha256 = package.sha256();
        let md5 = md5.filter(|_| sha256.is_none());
        Some(Self { name: package.name(), location, sha256, md5, size: package.size() })
    }

    pub fn identity(&self) -> ArchiveIdentity {
        match self.sha256 {
            Some(sha256) => ArchiveIdentity::Content(sha256),
            None => ArchiveIdentity::Location(self.location.clone()),
        }
    }

    pub(crate) fn shown_location(&self) -> String {
        match &self.location {
            ArchiveLocation::Url(url) => redact(url.as_str()),
            ArchiveLocation::Path(path) => path.display().to_string(),
        }
    }

    /// Whether an archive of so many bytes can be it.
    pub fn check_size(&self, actual: u64) -> Result<(), Error> {
        match self.size {
            Some(expected) if expected != actual => Err(self.size_mismatch(actual.to_string(), expected)),
            _ => Ok(()),
        }
    }

    /// Whether an archive with this md5 can be it.
    pub(crate) fn check_md5(&self, actual: &str) -> Result<(), Error> {
        match &self.md5 {
            Some(expected) if expected != actual => Err(Error::Md5Mismatch {
                package: self.name.clone(),
                location: self.shown_location(),
                actual: actual.to_owned(),
                expected: expected.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn size_mismatch(&self, actual: String, expected: u64) -> Error {
        Error::SizeMismatch { package: self.name.clone(), location: self.shown_location(), actual, expected }
    }

    pub(crate) fn io_error(&self, action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Archive { package: self.name.clone(), action, path: path.to_owned(), source }
    }

    /// The part of the file name that says what it is; readers of the cache go by it.
    pub(crate) fn extension(&self) -> &'static str {
        let name = match &self.location {
            ArchiveLocation::Url(url) => url.path().to_owned(),
            ArchiveLocation::Path(path) => path.to_string_lossy().into_owned(),
        };
        [".conda", ".tar.bz2", ".whl"].into_iter().find(|extension| name.ends_with(extension)).unwrap_or("")
    }
}
