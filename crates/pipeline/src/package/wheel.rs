//! What a wheel is, beside its archive: its names, where it is from, and what its `direct_url.json` says.

use std::path::{Path, PathBuf};

use pixi_oci_lock::{ArchiveLocation, LockedWheel, WheelOrigin, normalize};
use pixi_oci_net::canonical_url;
use pixi_oci_wheel::{DirectUrl, WheelExpected};
use url::Url;

use crate::{package::source_wheel::SourceWheel, report::WheelSource};

#[derive(Debug, Clone)]
pub struct Wheel {
    /// The PEP 503 name.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    /// With the tags.
    pub file_name: String,
    pub locked: bool,
    pub source: WheelSource,
    /// As it may be shown; only locked wheels have one.
    pub url: Option<String>,
    /// For wheels that are not from an index.
    pub direct_url: Option<DirectUrl>,
}

impl Wheel {
    pub fn locked(wheel: &LockedWheel, workdir: &str) -> Self {
        let url = match &wheel.origin {
            WheelOrigin::Path(path) => path.clone(),
            WheelOrigin::Url(url) => canonical_url(url),
            WheelOrigin::Index => match &wheel.location {
                ArchiveLocation::Url(url) => canonical_url(url),
                ArchiveLocation::Path(path) => path.display().to_string(),
            },
        };
        Self {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            file_name: wheel.file_name.clone(),
            locked: wheel.sha256.is_some(),
            source: WheelSource::Lock,
            url: Some(url),
            direct_url: direct_url(wheel, workdir),
        }
    }

    /// A wheel in place of a source.
    pub fn of_source(wheel: &SourceWheel, workdir: &str) -> Self {
        let place = |directory: &PathBuf| Url::from_file_path(in_image(workdir, &directory.to_string_lossy())).ok();
        let of_directory = || wheel.directory.as_ref().and_then(place).map(DirectUrl::directory);
        Self {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            file_name: wheel.file_name.clone(),
            locked: false,
            source: wheel.origin,
            url: None,
            direct_url: wheel.direct_url.clone().or_else(of_directory),
        }
    }

    /// The wheel that the file must be.
    pub fn expected(&self) -> WheelExpected {
        let Self { name, version, file_name, .. } = self;
        WheelExpected { name: name.clone(), version: version.clone(), file_name: file_name.clone() }
    }

    /// `pypi:NAME`
    pub fn package_name(&self) -> String {
        format!("pypi:{}", self.name)
    }
}

/// What `direct_url.json` of a locked wheel says.
fn direct_url(wheel: &LockedWheel, workdir: &str) -> Option<DirectUrl> {
    let url = match &wheel.origin {
        WheelOrigin::Index => None,
        WheelOrigin::Url(url) => Some(url.clone()),
        WheelOrigin::Path(path) => Url::from_file_path(in_image(workdir, path)).ok(),
    };
    url.map(DirectUrl::new)
}

/// Where a path of the lock file is in the image: what pixi compares `direct_url.json` with is the path joined to the
/// directory of the lock file, without `.` and `..`.
pub fn in_image(workdir: &str, path: &str) -> PathBuf {
    normalize(&Path::new("/").join(workdir).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_lock_file_are_those_that_pixi_sees_in_the_image() {
        for (path, expected) in [
            ("./dist/p-1.0-py3-none-any.whl", "/app/dist/p-1.0-py3-none-any.whl"),
            ("../wheels/p.whl", "/wheels/p.whl"),
            ("../../../p.whl", "/p.whl"),
            ("/srv/p.whl", "/srv/p.whl"),
        ] {
            assert_eq!(in_image("/app", path), Path::new(expected));
        }
    }
}
