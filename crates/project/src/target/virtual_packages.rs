//! What the target machine is assumed to have, and what the packages need of it. Never what the build machine has.

use std::cmp::Ordering;

use pixi_oci_lock::{LockedPackage, VirtualRequirement, minimum};
use pixi_oci_workspace::VirtualPackage;

/// A package that needs more than the target is assumed to have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{package} needs {requirement} on {platform}, but the target is assumed to have {name} {assumed}; if the machines that run the image have it, say --virtual-package {name}={needed}"
)]
pub struct TooOld {
    package: String,
    requirement: String,
    /// By the manifest's name.
    platform: String,
    name: String,
    assumed: String,
    needed: String,
}

/// Checks the dependencies against what is assumed. A virtual package of which nothing is assumed is taken as given,
/// because the lock file was solved with it.
pub fn check(
    platform: &str,
    requirements: &[VirtualRequirement],
    assumed: &[VirtualPackage],
) -> Result<(), Box<TooOld>> {
    for requirement in requirements.iter().filter(|r| !r.constraint) {
        let (Some(needed), Some(has)) =
            (&requirement.minimum, assumed.iter().find(|package| package.name == requirement.name))
        else {
            continue;
        };
        if has.version.cmp(needed) == Ordering::Less {
            return Err(Box::new(TooOld {
                package: requirement.package.clone(),
                requirement: requirement.requirement.clone(),
                platform: platform.to_owned(),
                name: requirement.name.clone(),
                assumed: has.version.to_string(),
                needed: needed.to_string(),
            }));
        }
    }
    Ok(())
}

/// The version of glibc that the target is assumed to have.
pub fn glibc(assumed: &[VirtualPackage]) -> Option<(u32, u32)> {
    let version = &assumed.iter().find(|package| package.name == "__glibc")?.version;
    let (major, minor) = version.as_major_minor()?;
    Some((major.try_into().ok()?, minor.try_into().ok()?))
}

/// The variables by which container runtimes with NVIDIA's hooks give GPUs to the container; empty without a CUDA
/// package.
///
/// `NVIDIA_REQUIRE_CUDA` comes from what the packages need: their `__cuda` minimum, else the major version of
/// `cuda-version`, with which every later driver of that major version works (CUDA minor version compatibility).
pub fn cuda_env(
    packages: &[LockedPackage],
    requirements: &[VirtualRequirement],
    assumed: &[VirtualPackage],
) -> Vec<(String, String)> {
    let toolkit = packages.iter().find_map(|package| match package {
        LockedPackage::Conda(record) if matches!(package.name().as_str(), "cuda-version" | "cudatoolkit") => {
            Some(record.package_record.version.version().to_string())
        }
        _ => None,
    });
    // `constrains` speaks of packages that may run with or without a GPU, as cuda-version's does.
    let depends = || requirements.iter().filter(|r| !r.constraint);
    let needed = minimum(depends(), "__cuda").and_then(|r| r.minimum.as_ref()).map(ToString::to_string);
    if toolkit.is_none() && !depends().any(|r| r.name == "__cuda") {
        return Vec::new();
    }
    let major = toolkit.as_deref().and_then(|version| version.split('.').next()).map(|major| format!("{major}.0"));
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    let mut env = vec![pair("NVIDIA_VISIBLE_DEVICES", "all"), pair("NVIDIA_DRIVER_CAPABILITIES", "compute,utility")];
    let required = needed.or(major);
    if let Some(required) = &required {
        // nvidia-container-cli compares MAJOR.MINOR.
        let dotted = if required.contains('.') { required.clone() } else { format!("{required}.0") };
        env.push(pair("NVIDIA_REQUIRE_CUDA", &format!("cuda>={dotted}")));
    }
    // pixi and conda in the container would look for a driver, which is not there until it runs with a GPU.
    let declared = assumed.iter().find(|package| package.name == "__cuda").map(|package| package.version.to_string());
    if let Some(version) = declared.or(required) {
        env.push(pair("CONDA_OVERRIDE_CUDA", &version));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(name: &str, minimum: &str, constraint: bool) -> VirtualRequirement {
        VirtualRequirement {
            package: "torch".into(),
            name: name.into(),
            requirement: format!("{name} >={minimum}"),
            minimum: minimum.parse().ok(),
            build: None,
            constraint,
        }
    }

    fn has(text: &str) -> Vec<VirtualPackage> {
        vec![text.parse().unwrap()]
    }

    #[test]
    fn later_sources_win() {
        let all = [has("__glibc=2.28"), has("__cuda=12"), has("__glibc=2.34")].concat();
        let united = VirtualPackage::over(all.iter());
        assert_eq!(united.iter().map(ToString::to_string).collect::<Vec<_>>(), ["__cuda=12", "__glibc=2.34"]);
    }

    #[test]
    fn too_little_is_an_error_and_nothing_said_is_not() {
        assert!(check("p", &[needs("__cuda", "12", false)], &has("__cuda=12.6")).is_ok());
        assert!(check("p", &[needs("__cuda", "12", false)], &[]).is_ok());
        assert!(check("p", &[needs("__cuda", "12", true)], &has("__cuda=11.8")).is_ok());
        let error = check("p", &[needs("__cuda", "12", false)], &has("__cuda=11.8")).unwrap_err().to_string();
        assert!(
            error.contains("torch needs __cuda >=12 on p,") && error.contains("--virtual-package __cuda=12"),
            "{error}"
        );
    }

    #[test]
    fn what_is_required_comes_from_the_packages_and_not_from_what_is_assumed() {
        let env = cuda_env(&[], &[needs("__cuda", "12", false)], &has("__cuda=12.6"));
        let get = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(get("NVIDIA_REQUIRE_CUDA"), Some("cuda>=12.0"));
        assert_eq!(get("CONDA_OVERRIDE_CUDA"), Some("12.6"));
        assert!(cuda_env(&[], &[needs("__cuda", "12", true)], &has("__cuda=12.6")).is_empty());
    }
}
