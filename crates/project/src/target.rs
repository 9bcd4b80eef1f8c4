//! Which platforms of the lock file are built.

pub mod platform;
pub mod virtual_packages;

use pixi_oci_image::Architecture;
use pixi_oci_lock::{LockFile, LockedPackage, LockedPlatform, PlatformWanted, requirements};
use pixi_oci_package::Python;
use pixi_oci_workspace::VirtualPackage;

use crate::{Error, inputs::RequestError, project::Project};

/// One platform that is built.
#[derive(Debug, Clone)]
pub struct Target {
    pub architecture: Architecture,
    pub platform: LockedPlatform,
    /// Its packages, in the lock file's order.
    pub packages: Vec<LockedPackage>,
    pub virtual_packages: Vec<VirtualPackage>,
}

/// What pixi assumes of a platform whose glibc is not named.
const DEFAULT_GLIBC: (u64, u64) = (2, 28);

impl Target {
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
        let glibc = self.virtual_packages.iter().find(|package| package.name == "__glibc");
        glibc.and_then(|package| package.version.as_major_minor()).unwrap_or(DEFAULT_GLIBC)
    }
}

/// The targets of a project, sorted by architecture.
pub fn targets(project: &Project) -> Result<Vec<Target>, Error> {
    let environment = project.configuration.environment.as_str();
    let (lock, inputs) = (&project.lock, &project.inputs);
    let wanted: Vec<PlatformWanted> = if inputs.platforms.is_empty() {
        let chosen =
            if inputs.architectures.is_empty() { &project.configuration.architectures } else { &inputs.architectures };
        let architectures = match &chosen[..] {
            [] => locked_architectures(lock, environment)?,
            chosen => chosen.to_vec(),
        };
        architectures.into_iter().map(|a| PlatformWanted::Subdir(platform::subdir(a))).collect()
    } else {
        inputs.platforms.iter().cloned().map(PlatformWanted::Name).collect()
    };
    let assumed = assumed(project)?;
    let mut targets: Vec<Target> = Vec::new();
    for wanted in wanted {
        let locked = lock.select_platform(environment, &wanted, &assumed);
        let locked = locked.map_err(|error| match too_old(lock, environment, &wanted, &assumed) {
            Some(reason) => Error::from(reason),
            None => error.into(),
        })?;
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
        if !inputs.platforms.is_empty()
            && !inputs.architectures.is_empty()
            && !inputs.architectures.contains(&architecture)
        {
            continue;
        }
        targets.extend(target(lock, environment, &locked, &assumed)?);
    }
    targets.sort_by_key(|target| target.architecture);
    Ok(targets)
}

/// The package for which what is assumed does not do, on the platform that would be meant otherwise: that it is not meant is no
/// answer.
fn too_old(
    lock: &LockFile,
    environment: &str,
    wanted: &PlatformWanted,
    assumed: &[VirtualPackage],
) -> Option<Box<virtual_packages::TooOld>> {
    let is_meant = |platform: &LockedPlatform| match wanted {
        PlatformWanted::Subdir(subdir) => platform.subdir == *subdir,
        PlatformWanted::Name(name) => platform.name == *name || platform.subdir.as_str() == name,
    };
    lock.platforms(environment).ok()?.iter().filter(|platform| is_meant(platform)).find_map(|platform| {
        let packages = lock.packages(environment, platform).ok()?;
        virtual_packages::check(&platform.name, &requirements(&packages), assumed).err()
    })
}

/// What the machines that run the image are assumed to have.
pub fn assumed(project: &Project) -> Result<Vec<VirtualPackage>, Error> {
    let required = project.workspace.system_requirements(&project.configuration.environment)?;
    let said = project.configuration.virtual_packages.iter().chain(&project.inputs.virtual_packages);
    Ok(VirtualPackage::over(required.iter().chain(said)))
}

/// A locked platform as a target; `None` if no image can be made for it.
pub fn target(
    lock: &LockFile,
    environment: &str,
    platform: &LockedPlatform,
    assumed: &[VirtualPackage],
) -> Result<Option<Target>, Error> {
    let Some(architecture) = platform::architecture(platform.subdir) else { return Ok(None) };
    Ok(Some(Target {
        architecture,
        packages: lock.packages(environment, platform)?,
        virtual_packages: VirtualPackage::over(platform.extras.iter().chain(assumed)),
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
