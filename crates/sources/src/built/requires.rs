//! Whether what a build needs is in the environment.

use std::collections::BTreeMap;

use pep508_rs::{MarkerEnvironment, Requirement, VersionOrUrl, pep440_rs::Version};
use pixi_oci_lock::{LockedPackage, marker_environment};
use pixi_oci_package::PackageInfo;

use super::BuildError;
use pixi_oci_project::Target;

#[derive(Debug, Clone)]
pub struct Missing {
    pub requirement: String,
    /// The version that is there instead.
    pub found: Option<Version>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.found {
            Some(found) => write!(f, "`{}` (it has {found})", self.requirement),
            None => write!(f, "`{}`", self.requirement),
        }
    }
}

/// The Python distributions of a target, by PEP 503 name, and what its interpreter answers to markers.
#[derive(Debug, Clone)]
pub struct Installed {
    distributions: BTreeMap<String, Version>,
    /// Those that are added for builds.
    pinned: BTreeMap<String, Version>,
    markers: Option<MarkerEnvironment>,
}

impl Installed {
    /// Those of the conda packages, which say by the directories of their metadata what they are, and the locked wheels.
    pub fn of(target: &Target, infos: &[PackageInfo]) -> Self {
        let mut distributions = BTreeMap::new();
        let paths = infos.iter().flat_map(|info| &info.paths).map(|listed| listed.path.as_str());
        for path in paths {
            let Some((_, below)) = path.rsplit_once("site-packages/") else { continue };
            let top = below.split('/').next().unwrap_or(below);
            let stem = top.strip_suffix(".dist-info").or_else(|| top.strip_suffix(".egg-info"));
            // `NAME-VERSION`, of an egg also `NAME-VERSION-py3.11`.
            let mut parts = stem.unwrap_or_default().split('-');
            insert(&mut distributions, parts.next(), parts.next());
        }
        for package in &target.packages {
            if let LockedPackage::Wheel(wheel) = package {
                insert(&mut distributions, Some(wheel.name.as_str()), Some(wheel.version.as_str()));
            }
        }
        Self { distributions, pinned: BTreeMap::new(), markers: markers_of(target) }
    }

    /// The pinned wheels that are not there yet; from now on they are.
    pub fn add(&mut self, mut wheels: Vec<LockedPackage>) -> Vec<LockedPackage> {
        wheels.retain(|package| match package {
            LockedPackage::Wheel(wheel) => !self.distributions.contains_key(wheel.name.as_str()),
            _ => false,
        });
        for package in &wheels {
            if let LockedPackage::Wheel(wheel) = package {
                insert(&mut self.pinned, Some(wheel.name.as_str()), Some(wheel.version.as_str()));
            }
        }
        wheels
    }

    pub fn python(&self) -> Option<String> {
        self.markers.as_ref().map(|markers| markers.python_full_version().to_string())
    }

    /// What the environment itself has, as constraints on what is added.
    pub fn constraints(&self) -> Vec<String> {
        self.distributions.iter().map(|(name, version)| format!("{name}=={version}")).collect()
    }

    /// Fails with everything of `requires` that is not there.
    pub fn check(&self, package: &str, requires: &[String]) -> Result<(), BuildError> {
        let mut missing = Vec::new();
        for text in requires {
            let requirement: Requirement = text.parse().map_err(|_| BuildError::Project {
                package: package.to_owned(),
                reason: format!("build requirement {:?} is not understood", text.escape_debug().to_string()),
            })?;
            if self.markers.as_ref().is_some_and(|markers| !requirement.evaluate_markers(markers, &[])) {
                continue;
            }
            let name = requirement.name.as_ref();
            let found = self.distributions.get(name).or_else(|| self.pinned.get(name));
            let fits = match (found, &requirement.version_or_url) {
                (None, _) => false,
                (Some(found), Some(VersionOrUrl::VersionSpecifier(wanted))) => wanted.contains(found),
                // Which archive an address names cannot be told from what is installed.
                (Some(_), Some(VersionOrUrl::Url(_))) => false,
                (Some(_), None) => true,
            };
            if !fits {
                missing.push(Missing { requirement: requirement.to_string(), found: found.cloned() });
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(BuildError::Requires { package: package.to_owned(), missing }) }
    }
}

fn insert(distributions: &mut BTreeMap<String, Version>, name: Option<&str>, version: Option<&str>) {
    let name = name.and_then(|name| name.parse::<pep508_rs::PackageName>().ok());
    let version = version.and_then(|version| version.parse::<Version>().ok());
    if let (Some(name), Some(version)) = (name, version) {
        distributions.insert(name.to_string(), version);
    }
}

/// What the Python of a target answers to markers.
pub fn markers_of(target: &Target) -> Option<MarkerEnvironment> {
    let conda = target.packages.iter().find_map(|package| match package {
        LockedPackage::Conda(record) if record.package_record.name.as_normalized() == "python" => Some(record),
        _ => None,
    });
    conda.and_then(|record| marker_environment(target.platform.subdir.as_str(), &record.package_record))
}
