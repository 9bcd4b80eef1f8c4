//! What a new lock file changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use rattler_lock::LockedPackage;
use serde::Serialize;

use crate::{LockFile, LockedPlatform};

/// A package that is another one than before, came or went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageChange {
    pub environment: String,
    /// The platform, by the manifest's name.
    pub platform: String,
    /// The conda name, or `pypi:` and the Python one.
    pub package: String,
    /// Version (and build) before; `None` if it was not there.
    pub before: Option<String>,
    /// Version (and build) now; `None` if it is gone.
    pub after: Option<String>,
}

impl fmt::Display for PackageChange {
    /// In pixi's signs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, platform, package, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "~ {package} {before} -> {after} ({environment} {platform})"),
            (None, Some(after)) => write!(f, "+ {package} {after} ({environment} {platform})"),
            (Some(before), None) => write!(f, "- {package} {before} ({environment} {platform})"),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn between(before: Option<&LockFile>, after: &LockFile) -> Vec<PackageChange> {
    let environments: BTreeSet<String> = before.into_iter().chain([after]).flat_map(LockFile::environments).collect();
    let mut changes = Vec::new();
    for environment in environments {
        let old = before.map(|lock| contents(lock, &environment)).unwrap_or_default();
        let new = contents(after, &environment);
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let (before, after) = (old.get(key), new.get(key));
            if before != after {
                changes.push(PackageChange {
                    environment: environment.clone(),
                    platform: key.0.clone(),
                    package: key.1.clone(),
                    before: before.cloned(),
                    after: after.cloned(),
                });
            }
        }
    }
    changes
}

/// Platform and package to version.
fn contents(lock: &LockFile, environment: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for platform in lock.all_platforms(environment) {
        for package in lock.inner_packages(environment, &platform) {
            let LockedPlatform { name, .. } = &platform;
            let (package, version) = describe(package);
            all.insert((name.clone(), package), version);
        }
    }
    all
}

fn describe(package: &LockedPackage) -> (String, String) {
    match package {
        LockedPackage::Conda(data) => {
            let version = data.record().map(|record| format!("{} {}", record.version, record.build));
            (data.name().as_normalized().to_owned(), version.unwrap_or_else(|| "from source".to_owned()))
        }
        LockedPackage::Pypi(data) => (format!("pypi:{}", data.name()), data.version_string()),
    }
}
