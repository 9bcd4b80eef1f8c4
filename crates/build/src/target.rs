//! Which platforms of the lock file are built.

use pixi_oci_image::Architecture;
use pixi_oci_lock::{LockFile, LockedPackage, LockedPlatform, PlatformWanted};
use pixi_oci_package::Python;
use pixi_oci_workspace::{VirtualPackage, Workspace};

use crate::{BuildRequest, Error, RequestError, configuration::Configuration, platform, virtual_packages};

/// One platform that is built.
#[derive(Debug, Clone)]
pub struct Target {
    /// The OCI architecture.
    pub architecture: Architecture,
    /// The platform in the lock file.
    pub platform: LockedPlatform,
    /// Its packages, in the lock file's order.
    pub packages: Vec<LockedPackage>,
    /// What the target is assumed to have.
    pub virtual_packages: Vec<VirtualPackage>,
}

/// What pixi assumes of a platform whose glibc is not named.
const DEFAULT_GLIBC: (u64, u64) = (2, 28);

impl Target {
    /// Its Python, if it has one.
    pub fn python(&self) -> Result<Option<Python>, pixi_oci_package::Error> {
        for package in &self.packages {
            if let LockedPackage::Conda(record) = package
                && record.package_record.name.as_normalized() == "python"
            {
                return Ok(Some(Python::of(&record.package_record, &package.name())?));
            }
        }
        Ok(None)
    }

    /// The C library that it is assumed to have.
    pub fn glibc(&self) -> (u64, u64) {
        let said = self.virtual_packages.iter().find(|package| package.name == "__glibc");
        said.and_then(|package| package.version.as_major_minor()).unwrap_or(DEFAULT_GLIBC)
    }
}

/// The targets of a request, sorted by architecture.
pub fn targets(
    request: &BuildRequest,
    workspace: &Workspace,
    lock: &LockFile,
    configuration: &Configuration,
) -> Result<Vec<Target>, Error> {
    let environment = configuration.environment.as_str();
    let configured = &configuration.architectures[..];
    let wanted: Vec<PlatformWanted> = if request.platforms.is_empty() {
        let asked = if request.architectures.is_empty() { configured } else { &request.architectures[..] };
        let architectures = match asked {
            [] => locked_architectures(lock, environment)?,
            asked => asked.to_vec(),
        };
        architectures.into_iter().map(|a| PlatformWanted::Subdir(platform::subdir(a))).collect()
    } else {
        request.platforms.iter().cloned().map(PlatformWanted::Name).collect()
    };
    let said = assumed(request, workspace, configuration)?;
    let mut targets: Vec<Target> = Vec::new();
    for wanted in wanted {
        let locked = lock.select_platform(environment, &wanted, &said)?;
        let Some(architecture) = platform::architecture(locked.subdir) else {
            return Err(RequestError::NoLinux { environment: environment.into() }.into());
        };
        if let Some(other) = targets.iter().find(|target| target.architecture == architecture) {
            if other.platform.name == locked.name {
                continue;
            }
            return Err(RequestError::TwoOfOneArchitecture {
                first: other.platform.name.clone(),
                second: locked.name,
                architecture,
            }
            .into());
        }
        // A request for one architecture asks the other nothing: platforms named on the command line may be filtered.
        if !request.platforms.is_empty()
            && !request.architectures.is_empty()
            && !request.architectures.contains(&architecture)
        {
            continue;
        }
        targets.extend(target(lock, environment, &locked, &said)?);
    }
    targets.sort_by_key(|target| target.architecture);
    Ok(targets)
}

/// What the machines that run the image are said to have.
pub fn assumed(
    request: &BuildRequest,
    workspace: &Workspace,
    configuration: &Configuration,
) -> Result<Vec<VirtualPackage>, Error> {
    Ok(virtual_packages::unite([
        workspace.system_requirements(&configuration.environment)?,
        configuration.virtual_packages.clone(),
        request.virtual_packages.clone(),
    ]))
}

/// A locked platform as a target; `None` if no image can be made for it.
pub fn target(
    lock: &LockFile,
    environment: &str,
    platform: &LockedPlatform,
    said: &[VirtualPackage],
) -> Result<Option<Target>, Error> {
    let Some(architecture) = platform::architecture(platform.subdir) else { return Ok(None) };
    Ok(Some(Target {
        architecture,
        packages: lock.packages(environment, platform)?,
        virtual_packages: virtual_packages::unite([platform.extras.clone(), said.to_vec()]),
        platform: platform.clone(),
    }))
}

/// The architectures that an environment is locked for, sorted.
pub fn locked_architectures(lock: &LockFile, environment: &str) -> Result<Vec<Architecture>, Error> {
    let mut found: Vec<Architecture> =
        lock.platforms(environment)?.iter().filter_map(|locked| platform::architecture(locked.subdir)).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(RequestError::NoLinux { environment: environment.into() }.into());
    }
    Ok(found)
}
