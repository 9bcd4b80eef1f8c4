//! Installs an environment of an air-gap product without pixi: the trees that become layers of an image, as files.
//!
//! The product's archives are read with the same code and the same checks as for an image, so the prefix has the image's bytes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_layer::DigestWriter;
use pixi_oci_lock::{LockFile, LockedPackage, PlatformWanted, Sha256};
use pixi_oci_package::TargetPrefix;
use pixi_oci_pipeline::{Package, SourceWheel, WheelSource, locked, with_wheels};
use pixi_oci_plan::Installation;
use pixi_oci_platform::{Links, cannot, open};
use pixi_oci_product::{PackageEntry, ProductEnvironment, ProductManifest, read_manifest};
use pixi_oci_project::{Target, platform};
use pixi_oci_workspace::Workspace;
use rayon::prelude::*;

use crate::{Error, ProductRequestError, project::place};

#[derive(Debug)]
pub struct InstallRequest<'a> {
    pub product: PathBuf,
    pub environment: String,
    /// The conda platform of this machine.
    pub platform: String,
    /// The prefix that files are made for, which is also where they are written.
    pub prefix: PathBuf,
    /// Where the project is, `PIXI_PROJECT_ROOT`: in the product, if `None`.
    pub project: Option<PathBuf>,
    /// A script for shells to source, which sets the environment up.
    pub activate: Option<PathBuf>,
    /// Bytes of unpacked files that may wait in memory.
    pub memory: usize,
    /// Set by somebody else when the work is to end.
    pub interrupted: &'a AtomicBool,
}

/// Installs, and gives the prefix.
///
/// # Errors
///
/// See [`Error`]. What was at the prefix is still there then.
pub fn install_product(request: &InstallRequest<'_>) -> Result<PathBuf, Error> {
    let manifest = read_manifest(&request.product)?;
    let environment = find(&manifest, request)?;
    let root = request.product.join(&manifest.name);
    let workspace = Workspace::open(&root.join(&manifest.workspace_manifest))?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(cannot("find", path));
    let (to, project) = (absolute(&request.prefix)?, absolute(request.project.as_deref().unwrap_or(&root))?);
    let prefix = TargetPrefix::new(&to.to_string_lossy())?;
    let target = target(&workspace, environment)?;
    let packages = packages(&request.product, &target, environment, &project.to_string_lossy())?;
    let installation = Installation {
        workspace: &workspace,
        environment: &environment.name,
        target: &target,
        prefix: &prefix,
        project: &project,
        activate: request.activate.as_deref(),
        memory: request.memory,
        cancelled: request.interrupted,
    };
    Ok(installation.write(packages)?)
}

fn find<'a>(
    manifest: &'a ProductManifest,
    request: &InstallRequest<'_>,
) -> Result<&'a ProductEnvironment, ProductRequestError> {
    let is_it = |e: &&ProductEnvironment| e.name == request.environment && e.subdir == request.platform;
    manifest.environments.iter().find(is_it).ok_or_else(|| {
        let known: Vec<String> =
            manifest.environments.iter().map(|e| format!("`{}` for {}", e.name, e.subdir)).collect();
        ProductRequestError::NoEnvironment {
            name: request.environment.clone(),
            platform: request.platform.clone(),
            known: known.join(", "),
        }
    })
}

fn target(workspace: &Workspace, environment: &ProductEnvironment) -> Result<Target, Error> {
    let lock = LockFile::of(workspace)?;
    let wanted = PlatformWanted::Name(environment.platform.clone());
    let platform = lock.select_platform(&environment.name, &wanted, &[])?;
    let contradiction = || ProductRequestError::Contradiction { package: environment.platform.clone() };
    Ok(Target {
        architecture: platform::architecture(platform.subdir).ok_or_else(contradiction)?,
        packages: lock.packages(&environment.name, &platform)?,
        virtual_packages: platform.extras.clone(),
        platform,
    })
}

/// The packages of a target with their archives in the product.
fn packages<'a>(
    product: &Path,
    target: &'a Target,
    environment: &ProductEnvironment,
    workdir: &str,
) -> Result<Vec<Package<'a>>, Error> {
    let entries: BTreeMap<&str, &PackageEntry> =
        environment.packages.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let contradiction = |package: &str| Error::from(ProductRequestError::Contradiction { package: package.to_owned() });
    let find = |name: &str| {
        let entry = *entries.get(name).ok_or_else(|| contradiction(name))?;
        Ok::<_, Error>((entry, archive(product, entry)?))
    };
    let mut packages = locked(&target.packages, workdir);
    packages.par_iter_mut().try_for_each(|package| {
        let (_, archive) = find(&package.name)?;
        if package.sha256().is_some_and(|locked| locked != archive.sha256) {
            return Err(contradiction(&package.name));
        }
        package.archive = Some(archive.into());
        Ok(())
    })?;
    let mut wheels = BTreeMap::new();
    for name in target.packages.iter().filter(|package| is_source(package)).map(LockedPackage::name) {
        // A conda source package is installed as the wheel that was made of it.
        let python = if name.starts_with("pypi:") { name.clone() } else { format!("pypi:{name}") };
        let (entry, archive) = find(&python)?;
        wheels.insert(name.clone(), source(entry, &archive).ok_or_else(|| contradiction(&name))??);
    }
    Ok(with_wheels(packages, &wheels, workdir))
}

fn is_source(package: &LockedPackage) -> bool {
    matches!(package, LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. })
}

/// An archive of the product that is what the manifest says.
fn archive(product: &Path, entry: &PackageEntry) -> Result<CachedArchive, Error> {
    let place = place(&entry.archive)?;
    let path = product.join(place.as_str());
    let read = || {
        let mut writer = DigestWriter::new(std::io::sink());
        std::io::copy(&mut open(&path, Links::Refuse)?, &mut writer)?;
        Ok(writer.finish())
    };
    let (actual, size, _) = read().map_err(cannot("read", &path))?;
    if actual != entry.digest {
        return Err(pixi_oci_product::Error::Changed { path, actual, expected: entry.digest }.into());
    }
    Ok(CachedArchive { path, sha256: Sha256::from_bytes(*actual.as_bytes()), size })
}

/// The wheel of a source; nothing if the manifest does not say how it came to be.
fn source(entry: &PackageEntry, archive: &CachedArchive) -> Option<Result<SourceWheel, Error>> {
    let origins = [WheelSource::Own, WheelSource::Injected, WheelSource::Built];
    let origin = origins.into_iter().find(|origin| entry.source.as_deref() == Some(origin.name()))?;
    let name = entry.name.strip_prefix("pypi:")?;
    let directory = entry.directory.as_ref().map(PathBuf::from);
    Some(SourceWheel::read(&archive.path, name, &entry.version, origin, directory).map_err(Error::from))
}
