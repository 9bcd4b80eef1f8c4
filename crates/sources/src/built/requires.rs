//! Whether what a build needs is in the environment.

use std::collections::BTreeMap;

use pep508_rs::{MarkerEnvironment, MarkerEnvironmentBuilder, Requirement, VersionOrUrl, pep440_rs::Version};
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::PackageInfo;
use rattler_conda_types::Subdir;

use super::BuildError;
use pixi_oci_project::Target;

/// The Python distributions of a target, by PEP 503 name, and what its interpreter answers to markers.
#[derive(Debug, Clone)]
pub struct Installed {
    distributions: BTreeMap<String, Version>,
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
        let mut python = None;
        for package in &target.packages {
            match package {
                LockedPackage::Wheel(wheel) => {
                    insert(&mut distributions, Some(wheel.name.as_str()), Some(wheel.version.as_str()));
                }
                LockedPackage::Conda(record) if record.package_record.name.as_normalized() == "python" => {
                    python = Some(record.package_record.version.to_string());
                }
                _ => {}
            }
        }
        Self { distributions, markers: python.and_then(|python| markers(&python, target.platform.subdir)) }
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
            match (self.distributions.get(requirement.name.as_ref()), &requirement.version_or_url) {
                (None, _) => missing.push(format!("`{requirement}`")),
                (Some(found), Some(VersionOrUrl::VersionSpecifier(wanted))) if !wanted.contains(found) => {
                    missing.push(format!("`{requirement}` (it has {found})"));
                }
                // Which archive an address names cannot be told from what is installed.
                (Some(found), Some(VersionOrUrl::Url(_))) => missing.push(format!("`{requirement}` (it has {found})")),
                (Some(_), _) => {}
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

fn markers(python: &str, subdir: Subdir) -> Option<MarkerEnvironment> {
    let short: Vec<&str> = python.splitn(3, '.').take(2).collect();
    let short = short.join(".");
    let builder = MarkerEnvironmentBuilder {
        implementation_name: "cpython",
        implementation_version: python,
        os_name: "posix",
        platform_machine: if subdir == Subdir::LinuxAarch64 { "aarch64" } else { "x86_64" },
        platform_python_implementation: "CPython",
        platform_release: "",
        platform_system: "Linux",
        platform_version: "",
        python_full_version: python,
        python_version: &short,
        sys_platform: "linux",
    };
    builder.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let installed = Installed {
            distributions: [("setuptools".to_owned(), "75.1.0".parse().unwrap())].into(),
            markers: markers("3.11.2", Subdir::Linux64),
        };
        let check = |requires: &[&str]| {
            let requires: Vec<String> = requires.iter().map(|text| (*text).to_owned()).collect();
            installed.check("pypi:x", &requires)
        };
        check(&["Setuptools>=61", "tomli; python_version < '3.11'"]).unwrap();
        let error = check(&["setuptools>=80", "wheel", "cython~=3.0"]).unwrap_err().to_string();
        for words in ["`setuptools>=80` (it has 75.1.0)", "`wheel`", "cython", "pypi:x"] {
            assert!(error.contains(words), "{error}");
        }
        assert!(check(&["!"]).is_err() && check(&["setuptools @ https://h.example/s.tar.gz"]).is_err());
    }
}
