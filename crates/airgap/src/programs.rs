//! The programs of a product: pixi-oci itself, and pixi.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{Kind, unpack};
use pixi_oci_platform::{FileError, Links, open};
use pixi_oci_product::{BIN, Product, ProductFile, check_program};
use rattler_conda_types::PackageRecord;

use super::{Environment, PackedEnvironment, ProductRequest, ProductRequestError, project::place};
use crate::Error;
use pixi_oci_pipeline::PackageKind;

pub(super) struct WrittenPrograms {
    pub files: Vec<ProductFile>,
    pub pixi: Option<String>,
}

/// Whether pixi is locked for every platform, if it is wanted. Asked before anything is downloaded.
pub(super) fn check_pixi(request: &ProductRequest, environments: &[Environment]) -> Result<(), ProductRequestError> {
    let mut has_pixi: BTreeMap<&str, bool> = BTreeMap::new();
    for target in environments.iter().flat_map(|environment| &environment.project.targets) {
        let is_pixi = |package: &LockedPackage| matches!(package, LockedPackage::Conda(_)) && package.name() == "pixi";
        *has_pixi.entry(target.platform.subdir.as_str()).or_default() |= target.packages.iter().any(is_pixi);
    }
    match has_pixi.into_iter().find(|(_, has)| !has).filter(|_| request.with_pixi) {
        Some((platform, _)) => Err(ProductRequestError::NoPixi { platform: platform.to_owned() }),
        None => Ok(()),
    }
}

/// The executables of pixi-oci for the conda platforms of a product, by platform.
pub(super) fn installers(request: &ProductRequest, subdirs: &[String]) -> Result<BTreeMap<String, PathBuf>, Error> {
    let own = request.own_installer.iter().filter(|(platform, _)| subdirs.contains(platform));
    let installers: BTreeMap<String, PathBuf> = own.chain(&request.installers).cloned().collect();
    for (platform, path) in &installers {
        if !subdirs.contains(platform) {
            return Err(
                ProductRequestError::Installer { platform: platform.clone(), platforms: subdirs.join(", ") }.into()
            );
        }
        check_program(path, platform)?;
    }
    Ok(installers)
}

/// Writes the programs for the conda platforms of a product.
pub(super) fn write(
    product: &Product,
    request: &ProductRequest,
    installers: &BTreeMap<String, PathBuf>,
    subdirs: &[String],
    platforms: &[PackedEnvironment<'_>],
) -> Result<WrittenPrograms, Error> {
    let mut written = WrittenPrograms { files: Vec::new(), pixi: None };
    for (platform, path) in installers {
        let at = place(&format!("{BIN}/{platform}/pixi-oci"))?;
        let read = |source| FileError { action: "read", path: path.into(), source };
        let mut file = open(path, Links::Follow).map_err(read)?;
        let digest = product.file(&at, 0o755, None, &mut file)?;
        written.files.push(program(at.to_string(), digest));
    }
    for platform in subdirs.iter().filter(|_| request.with_pixi) {
        let missing = || ProductRequestError::NoPixi { platform: platform.clone() };
        let (record, archive) = locked_pixi(platforms, platform).ok_or_else(missing)?;
        let at = place(&format!("{BIN}/{platform}/pixi"))?;
        let mut digest = None;
        unpack(archive, &format!("pixi-{}-{}", record.version, record.build), &mut |entry| {
            if entry.path.as_str() == "bin/pixi" && entry.kind == Kind::File {
                digest = Some(product.file(&at, 0o755, None, entry.body)?);
            }
            Ok::<_, Error>(())
        })??;
        written.files.push(program(at.to_string(), digest.ok_or_else(missing)?));
        check_program(&product.root().join(at.as_str()), platform)?;
        written.pixi = Some(record.version.to_string());
    }
    Ok(written)
}

fn program(path: String, digest: Digest) -> ProductFile {
    ProductFile { path, digest: Some(digest), executable: true, target: None }
}

/// The record and the archive of the conda package `pixi` for a platform.
fn locked_pixi<'a>(platforms: &'a [PackedEnvironment<'_>], subdir: &str) -> Option<(&'a PackageRecord, &'a Path)> {
    let of_platform = platforms.iter().filter(|platform| platform.target.platform.subdir.as_str() == subdir);
    of_platform.flat_map(|platform| &platform.packages).find_map(|package| match &package.kind {
        PackageKind::Conda(record) if package.name == "pixi" => Some((&record.package_record, package.file().ok()?.1)),
        _ => None,
    })
}
