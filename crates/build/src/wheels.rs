//! The wheels of a target: where they are, whether they are for it, and what their `direct_url.json` says.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_lock::{ArchiveLocation, LockedWheel, Sha256, WheelOrigin};
use pixi_oci_net::canonical_url;
use pixi_oci_package::{Python, WheelFacts};
use pixi_oci_wheel::{DirectUrl, WheelExpected, check_tags, read_wheel};
use rayon::prelude::*;
use url::Url;

use crate::{
    Error, WheelReport, WheelSource,
    cache::{FactsCache, Known},
    source_wheel::{SourceWheel, WheelOrigin as WheelMaker},
    target::Target,
};

/// A wheel of a target.
#[derive(Debug, Clone)]
pub struct TargetWheel {
    /// The PEP 503 name.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    /// With the tags.
    pub file_name: String,
    /// The file.
    pub file: WheelFile,
    /// Its sha256.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Whether the lock file has this hash.
    pub locked: bool,
    /// Where it came from.
    pub source: WheelSource,
    /// As it may be shown; none of what is no locked wheel.
    pub url: Option<String>,
    /// For wheels that are not from an index.
    pub direct_url: Option<DirectUrl>,
}

/// A wheel's file.
#[derive(Debug, Clone)]
pub enum WheelFile {
    /// It is on this machine.
    Here(PathBuf),
    /// What is known of it may be enough.
    Known(WheelFacts),
}

impl TargetWheel {
    /// A wheel of the lock file that is in the cache.
    pub fn locked(wheel: &LockedWheel, archive: &CachedArchive, workdir: &str) -> Self {
        Self::of_lock(wheel, WheelFile::Here(archive.path.clone()), archive.sha256, archive.size, workdir)
    }

    /// A wheel of the lock file that may be somewhere else. `None` if the lock file does not say which one it is.
    pub fn known(wheel: &LockedWheel, known: Known<WheelFacts>, workdir: &str) -> Option<Self> {
        Some(Self::of_lock(wheel, WheelFile::Known(known.facts), wheel.sha256?, known.size, workdir))
    }

    fn of_lock(wheel: &LockedWheel, file: WheelFile, sha256: Sha256, size: u64, workdir: &str) -> Self {
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
            file,
            sha256,
            size,
            locked: wheel.sha256.is_some(),
            source: WheelSource::Lock,
            url: Some(url),
            direct_url: direct_url(wheel, workdir),
        }
    }

    /// A wheel in place of a source.
    pub fn of_source(wheel: &SourceWheel, workdir: &str) -> Self {
        let SourceWheel { name, version, file_name, path, sha256, size, origin, directory, direct_url } = wheel.clone();
        let place = |directory: PathBuf| Url::from_file_path(in_image(workdir, &directory.to_string_lossy())).ok();
        let source = match origin {
            WheelMaker::Injected => WheelSource::Injected,
            WheelMaker::Built => WheelSource::Built,
            WheelMaker::Own => WheelSource::Own,
        };
        let direct_url = direct_url.or_else(|| directory.and_then(place).map(DirectUrl::directory));
        Self {
            name,
            version,
            file_name,
            file: WheelFile::Here(path),
            sha256,
            size,
            locked: false,
            source,
            url: None,
            direct_url,
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

    /// For the report.
    pub fn report(&self) -> WheelReport {
        WheelReport {
            name: self.name.clone(),
            version: self.version.clone(),
            file_name: self.file_name.clone(),
            url: self.url.clone(),
            sha256: self.sha256.to_string(),
            size: self.size,
            locked: self.locked,
            source: self.source,
        }
    }
}

/// What `direct_url.json` of a locked wheel says.
pub fn direct_url(wheel: &LockedWheel, workdir: &str) -> Option<DirectUrl> {
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
    let mut clean = PathBuf::from("/");
    for component in Path::new(workdir).join(path).components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// The wheels of a target in the order in which they are installed over one another: by name, the workspace's own packages
/// last. `sources` has a wheel for each source.
pub fn in_order(locked: Vec<TargetWheel>, sources: &BTreeMap<String, SourceWheel>, workdir: &str) -> Vec<TargetWheel> {
    let of_sources = sources.values().map(|wheel| TargetWheel::of_source(wheel, workdir));
    let mut wheels: Vec<TargetWheel> = locked.into_iter().chain(of_sources).collect();
    wheels.sort_by_key(|wheel| (wheel.source == WheelSource::Own, wheel.name.clone()));
    wheels
}

/// Which paths the wheels have, after a look at whether they are for the target, whose C library is glibc of that version.
/// Where nobody knows, the lock file was made for what the target has.
pub fn wheel_facts(
    target: &Target,
    wheels: &[TargetWheel],
    python: Option<&Python>,
    glibc: Option<(u32, u32)>,
    cache: &FactsCache,
) -> Result<Vec<WheelFacts>, Error> {
    if wheels.is_empty() {
        return Ok(Vec::new());
    }
    let Some(python) = python else {
        let names = wheels.iter().map(|wheel| wheel.file_name.clone()).collect::<Vec<_>>().join(", ");
        return Err(Error::NoPython { platform: target.platform.name.clone(), wheels: names });
    };
    let glibc = glibc.map_or((u64::MAX, 0), |(major, minor)| (major.into(), minor.into()));
    for wheel in wheels {
        check_tags(&wheel.file_name, python, target.platform.subdir, glibc)?;
    }
    let read = |wheel: &TargetWheel| {
        let path = match &wheel.file {
            WheelFile::Known(facts) => return Ok(facts.clone()),
            WheelFile::Here(path) => path,
        };
        let info = read_wheel(path, &wheel.expected())?;
        let direct_url = wheel.direct_url.as_ref();
        let facts = WheelFacts { paths: info.paths(python, direct_url)?, file_name: info.file_name };
        if wheel.source == WheelSource::Lock {
            cache.put_wheel(&wheel.sha256, python, direct_url, &Known { size: wheel.size, facts: facts.clone() });
        }
        Ok(facts)
    };
    let facts: Vec<Result<WheelFacts, pixi_oci_package::Error>> = wheels.par_iter().map(read).collect();
    Ok(facts.into_iter().collect::<Result<_, _>>()?)
}

/// What is said of files that several packages have. `lost` names the loser, the winner and the path.
pub fn overwritten_warnings(lost: impl IntoIterator<Item = (String, String, String)>) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut pairs: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (loser, winner, path) in lost {
        pairs.entry((winner, loser)).or_default().push(path);
    }
    let text = |((winner, loser), paths): ((String, String), Vec<String>)| {
        let more = paths.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let shown = paths[..paths.len().min(SHOWN)].join(", ");
        format!("{winner} overwrites files of {loser}: {shown}{more}")
    };
    pairs.into_iter().map(text).collect()
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

    #[test]
    fn only_the_first_overwritten_files_are_named() {
        let lost = |n: usize| ("pypi:a".to_owned(), "pypi:b".to_owned(), format!("bin/{n}"));
        assert_eq!(overwritten_warnings((0..2).map(lost)), ["pypi:b overwrites files of pypi:a: bin/0, bin/1"]);
        assert!(overwritten_warnings((0..7).map(lost))[0].ends_with("bin/4 and 2 more"));
    }
}
