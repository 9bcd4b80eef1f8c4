//! What the target machine is assumed to have, and what the packages need of it. Never what the build machine has.

use std::collections::BTreeMap;

use pixi_oci_resolve::{LockedPackage, Version, VirtualRequirement};

/// Virtual packages by name (`__cuda`, `__glibc`, …) with the version that the target is assumed to have.
pub type VirtualPackages = BTreeMap<String, Version>;

/// A package that needs more than the target is assumed to have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{package} needs {requirement}, but the target is assumed to have {name} {assumed}; pass --virtual-package {name}={needed} if the machines that run the image have it"
)]
pub struct TooOld {
    /// The package that needs it.
    pub package: String,
    /// As in its metadata.
    pub requirement: String,
    /// The virtual package.
    pub name: String,
    /// The assumed version.
    pub assumed: String,
    /// The least version that would do.
    pub needed: String,
}

/// `NAME=VERSION` or `NAME`, with or without the leading underscores, as on pixi's command line.
pub fn parse(text: &str) -> Option<(String, Version)> {
    let (name, version) = text.split_once('=').unwrap_or((text, "0"));
    // A third part is a build string, which only `__archspec` has; its "version" is always 1.
    // A third part is a build string, which only `__archspec` has.
    let version = version.split_once('=').map_or(version, |(version, _)| version);
    let name = format!("__{}", name.trim_start_matches('_'));
    (name.len() > 2).then_some(())?;
    Some((name, version.trim().parse().ok()?))
}

/// Checks the requirements against what is assumed; a virtual package of which nothing is assumed is taken as given,
/// because the lock file was solved with it.
pub fn check(requirements: &[VirtualRequirement], assumed: &VirtualPackages) -> Result<(), TooOld> {
    for requirement in requirements {
        let Some(version) = assumed.get(&requirement.name) else { continue };
        if let Some(needed) = &requirement.minimum
            && version < needed
        {
            return Err(TooOld {
                package: requirement.package.clone(),
                requirement: requirement.requirement.clone(),
                name: requirement.name.clone(),
                assumed: version.to_string(),
                needed: needed.to_string(),
            });
        }
    }
    Ok(())
}

/// The highest minimum of a virtual package, and a package that asks for it.
pub fn minimum<'a>(requirements: &'a [VirtualRequirement], name: &str) -> Option<(&'a Version, &'a str)> {
    requirements
        .iter()
        .filter(|r| r.name == name)
        .filter_map(|r| Some((r.minimum.as_ref()?, r.package.as_str())))
        .max_by(|a, b| a.0.cmp(b.0).then(b.1.cmp(a.1)))
}

/// The variables by which container runtimes with NVIDIA's hooks give GPUs to the container; empty without a CUDA
/// package.
///
/// `NVIDIA_REQUIRE_CUDA` comes from what the packages need: their `__cuda` minimum, else the major version of
/// `cuda-version`, with which every later driver of the same major version works (CUDA minor version compatibility).
pub fn cuda_env(
    packages: &[LockedPackage],
    requirements: &[VirtualRequirement],
    assumed: &VirtualPackages,
) -> Vec<(String, String)> {
    let cuda_version = packages.iter().find_map(|package| match package {
        LockedPackage::Conda(record) if package.name() == "cuda-version" || package.name() == "cudatoolkit" => {
            Some(record.package_record.version.version().to_string())
        }
        _ => None,
    });
    let needed = minimum(requirements, "__cuda").map(|(version, _)| version.to_string());
    if needed.is_none() && cuda_version.is_none() && !requirements.iter().any(|r| r.name == "__cuda") {
        return Vec::new();
    }
    let major = cuda_version.as_deref().and_then(|v| v.split('.').next()).map(|major| format!("{major}.0"));
    let pair = |name: &str, value: String| (name.to_string(), value);
    let mut env = vec![
        pair("NVIDIA_VISIBLE_DEVICES", "all".into()),
        pair("NVIDIA_DRIVER_CAPABILITIES", "compute,utility".into()),
    ];
    let required = needed.clone().or(major);
    if let Some(required) = &required {
        // nvidia-container-cli compares MAJOR.MINOR.
        let dotted = if required.contains('.') { required.clone() } else { format!("{required}.0") };
        env.push(pair("NVIDIA_REQUIRE_CUDA", format!("cuda>={dotted}")));
    }
    // pixi and conda in the container would look for a driver, which is not there until it runs with a GPU.
    if let Some(version) = assumed.get("__cuda").map(ToString::to_string).or(required) {
        env.push(pair("CONDA_OVERRIDE_CUDA", version));
    }
    env
}
