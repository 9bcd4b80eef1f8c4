//! The packages of a lock file, with their locations made absolute.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    path::{Component, Path, PathBuf},
};

use rattler_conda_types::RepoDataRecord;
use rattler_lock::{CondaBinaryData, CondaPackageData, PypiDistributionData, PypiPackageData, UrlOrPath};
use url::Url;

use crate::{Error, Sha256};
use pixi_oci_net::redact;

#[derive(Debug, Clone)]
pub enum LockedPackage {
    /// A conda package archive. Its record can lack a sha256 where the manifest names it by URL or path, or the channel is
    /// old; its URL is absolute, `file:` for local ones.
    Conda(Box<RepoDataRecord>),
    /// A conda package that would have to be built from source.
    CondaSource {
        name: String,
        /// Where the source is, as the lock file has it.
        location: String,
        /// The same, absolute.
        place: ArchiveLocation,
    },
    Wheel(Box<LockedWheel>),
    /// A Python package that would have to be built from source.
    PypiSource {
        /// The PEP 503 name.
        name: String,
        version: Option<String>,
        /// Where the source is, as the lock file has it.
        location: String,
        kind: PypiSourceKind,
        /// Where the source is, absolute, with whatever credentials the lock file has: never to be shown. The URL of a
        /// git repository begins with `git+` and ends in `#` and the locked commit.
        place: ArchiveLocation,
        /// Of a source archive, where the lock file has it.
        sha256: Option<Sha256>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedWheel {
    /// The PEP 503 name, without `pypi:`.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    pub location: ArchiveLocation,
    /// How the manifest came to it.
    pub origin: WheelOrigin,
    /// The wheel's file name, percent-decoded.
    pub file_name: String,
    /// Its sha256; wheels named by URL or path in the manifest can lack it.
    pub sha256: Option<Sha256>,
    /// Its md5, 32 lower-case hex digits; old indexes have nothing else.
    pub md5: Option<String>,
    /// Which Pythons it is for, as a PEP 440 specifier.
    pub requires_python: Option<String>,
    /// The index it came from. Only lock files of format 7 have it, and only if it is not PyPI.
    pub index_url: Option<Url>,
}

/// How a wheel was named, which is what pixi goes by when it judges whether an installed wheel is the locked one: what the
/// lock file marks with `direct+`, a `file:` URL or a path is not from an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WheelOrigin {
    /// By an index, or a page of links.
    Index,
    /// By its own URL, here without `direct+`.
    Url(Url),
    /// By a path, as the lock file has it: absolute, or relative to the lock file's directory.
    Path(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ArchiveLocation {
    Url(Url),
    /// On this machine; absolute.
    Path(PathBuf),
}

/// What a Python package would be built from.
///
/// Lock files do not say (any more) whether a directory is installed as editable; the manifest's `pypi-dependencies` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PypiSourceKind {
    Sdist,
    Directory,
    Git,
}

impl ArchiveLocation {
    /// The path of an archive on this machine, also where it is written as a `file:` URL.
    pub fn local_path(&self) -> Option<PathBuf> {
        match self {
            Self::Path(path) => Some(path.clone()),
            Self::Url(url) if url.scheme() == "file" => url.to_file_path().ok(),
            Self::Url(_) => None,
        }
    }
}

impl LockedPackage {
    /// The conda name, or `pypi:` and the PEP 503 name. Unique in an environment.
    pub fn name(&self) -> String {
        match self {
            Self::Conda(record) => record.package_record.name.as_normalized().to_owned(),
            Self::CondaSource { name, .. } => name.clone(),
            Self::Wheel(wheel) => format!("pypi:{}", wheel.name),
            Self::PypiSource { name, .. } => format!("pypi:{name}"),
        }
    }

    /// The archive's length in bytes, where the lock file has it: of most conda packages, of no wheel.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::Conda(record) => record.package_record.size,
            _ => None,
        }
    }

    /// The archive's sha256: of most conda packages and wheels, of no source.
    pub fn sha256(&self) -> Option<Sha256> {
        match self {
            Self::Conda(record) => Sha256::from_rattler(record.package_record.sha256.as_ref()?.as_slice()),
            Self::Wheel(wheel) => wheel.sha256,
            _ => None,
        }
    }

    /// Says what an archive must be that is locked without a sha256.
    fn pin(&mut self, hash: Sha256) {
        match self {
            Self::Conda(record) => {
                record.package_record.sha256.get_or_insert_with(|| (*hash.as_bytes()).into());
            }
            Self::Wheel(wheel) => {
                wheel.sha256.get_or_insert(hash);
            }
            Self::CondaSource { .. } | Self::PypiSource { .. } => {}
        }
    }
}

/// Converts packages, keeping their order.
pub(crate) fn read<'a>(
    lock_path: &Path,
    directory: &Path,
    hashes: &BTreeMap<String, Sha256>,
    packages: impl Iterator<Item = &'a rattler_lock::LockedPackage>,
) -> Result<Vec<LockedPackage>, Error> {
    let mut seen = HashSet::new();
    packages
        .map(|package| {
            let mut package = convert(directory, package).map_err(|(package, message)| Error::LockedPackage {
                path: lock_path.to_owned(),
                package,
                message,
            })?;
            let name = package.name();
            if let Some(hash) = hashes.get(&name) {
                package.pin(*hash);
            }
            if !seen.insert(name.clone()) {
                let message =
                    "it is locked twice in one environment; run `pixi lock` to renew the lock file".to_owned();
                return Err(Error::LockedPackage { path: lock_path.to_owned(), package: name, message });
            }
            Ok(package)
        })
        .collect()
}

/// The package, or its name and what is wrong with it.
fn convert(directory: &Path, package: &rattler_lock::LockedPackage) -> Result<LockedPackage, (String, String)> {
    match package {
        rattler_lock::LockedPackage::Conda(CondaPackageData::Binary(data)) => {
            let name = data.package_record.name.as_normalized();
            conda(directory, data).map_err(|message| (name.to_owned(), message))
        }
        rattler_lock::LockedPackage::Conda(CondaPackageData::Source(data)) => Ok(LockedPackage::CondaSource {
            name: data.name().as_normalized().to_owned(),
            location: redact(data.location.as_str()),
            place: locate(directory, &data.location),
        }),
        rattler_lock::LockedPackage::Pypi(PypiPackageData::Distribution(data)) => {
            distribution(directory, data).map_err(|message| (format!("pypi:{}", data.name), message))
        }
        rattler_lock::LockedPackage::Pypi(PypiPackageData::Source(data)) => Ok(LockedPackage::PypiSource {
            name: data.name.to_string(),
            version: None,
            location: redact(data.location.inner().as_str()),
            kind: source_kind(data.location.inner()),
            place: locate(directory, data.location.inner()),
            sha256: None,
        }),
    }
}

fn conda(directory: &Path, data: &CondaBinaryData) -> Result<LockedPackage, String> {
    let record = &data.package_record;
    let location = data.location.as_str();
    let url = match locate(directory, &data.location) {
        ArchiveLocation::Url(url) => url,
        ArchiveLocation::Path(path) => {
            Url::from_file_path(&path).map_err(|()| format!("{location} is not a path on this machine"))?
        }
    };
    Ok(LockedPackage::Conda(Box::new(RepoDataRecord {
        package_record: record.clone(),
        identifier: data.file_name.clone(),
        url,
        channel: data.channel.as_ref().map(ToString::to_string),
    })))
}

fn distribution(directory: &Path, data: &PypiDistributionData) -> Result<LockedPackage, String> {
    let location = data.location.inner();
    let file_name = location.file_name().map(percent_decode).unwrap_or_default();
    let sha256 = data.hash.as_ref().and_then(|hash| hash.sha256());
    let sha256 = sha256.and_then(|hash| Sha256::from_rattler(hash.as_slice()));
    if !file_name.ends_with(".whl") {
        return Ok(LockedPackage::PypiSource {
            name: data.name.to_string(),
            version: Some(data.version.to_string()),
            location: redact(location.as_str()),
            kind: source_kind(location),
            place: locate(directory, location),
            // That of a directory is of its metadata only.
            sha256: sha256.filter(|_| source_kind(location) == PypiSourceKind::Sdist),
        });
    }
    if file_name.contains(['/', '\0']) {
        return Err(format!("`{}` cannot be a wheel's file name", file_name.escape_debug()));
    }
    let md5 = data.hash.as_ref().and_then(|hash| hash.md5());
    let (location, origin) = match location {
        UrlOrPath::Path(path) => (locate(directory, location), WheelOrigin::Path(path.to_string())),
        UrlOrPath::Url(url) if url.scheme() == "file" => (locate(directory, location), WheelOrigin::Url(url.clone())),
        UrlOrPath::Url(url) => match url.as_str().strip_prefix("direct+").map(str::parse::<Url>) {
            Some(Ok(url)) => (locate(directory, &UrlOrPath::Url(url.clone())), WheelOrigin::Url(url)),
            Some(Err(error)) => return Err(format!("`{}` is no URL: {error}", redact(url.as_str()))),
            None => (locate(directory, location), WheelOrigin::Index),
        },
    };
    Ok(LockedPackage::Wheel(Box::new(LockedWheel {
        name: data.name.to_string(),
        version: data.version.to_string(),
        location,
        origin,
        file_name,
        sha256,
        md5: md5.map(hex::encode),
        requires_python: data.requires_python.as_ref().map(ToString::to_string),
        index_url: data.index_url.clone(),
    })))
}

fn source_kind(location: &UrlOrPath) -> PypiSourceKind {
    let is_archive = |name: &str| [".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz"].iter().any(|e| name.ends_with(e));
    match location {
        UrlOrPath::Url(url) if url.scheme().starts_with("git") => PypiSourceKind::Git,
        UrlOrPath::Path(path) if !is_archive(path.as_str()) => PypiSourceKind::Directory,
        _ => PypiSourceKind::Sdist,
    }
}

/// Makes a location absolute: a path is relative to the lock file's directory.
fn locate(directory: &Path, location: &UrlOrPath) -> ArchiveLocation {
    match location {
        UrlOrPath::Url(url) => match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => ArchiveLocation::Path(path),
            _ => ArchiveLocation::Url(url.clone()),
        },
        UrlOrPath::Path(path) => ArchiveLocation::Path(normalize(&directory.join(path.as_str()))),
    }
}

/// Removes `.` and `..` without asking the disk, as rattler does, so that records do not depend on links.
pub fn normalize(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            component => clean.push(component),
        }
    }
    clean
}

/// Decodes `%2B` and the like; what is no valid escape, or not UTF-8, stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent() {
        assert_eq!(percent_decode("torch-2.1.0%2Bcu118-x.whl"), "torch-2.1.0+cu118-x.whl");
        assert_eq!(percent_decode("a%zz%4"), "a%zz%4");
        assert_eq!(percent_decode("a%ff"), "a%ff");
    }

    #[test]
    fn normalizes_lexically() {
        assert_eq!(normalize(Path::new("/a/./b/../../c")), Path::new("/c"));
        assert_eq!(normalize(Path::new("/../..")), Path::new("/"));
    }
}
