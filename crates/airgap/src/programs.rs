//! The programs of a product: pixi-oci itself, and pixi.

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{Kind, unpack};
use pixi_oci_platform::{FileError, Links, open};
use pixi_oci_product::{BIN, Product, ProductFile, check_program};

use super::{Environment, PackedEnvironment, ProductRequest, ProductRequestError, project::place};
use crate::Error;
use pixi_oci_pipeline::PackageKind;

pub(super) struct Programs {
    /// Executables of pixi-oci, by conda platform.
    installers: BTreeMap<String, PathBuf>,
    pixi: Vec<LockedPixi>,
}

pub(super) struct WrittenPrograms {
    pub files: Vec<ProductFile>,
    pub pixi: Option<String>,
}

struct LockedPixi {
    platform: String,
    version: String,
    file_name: String,
    archive: PathBuf,
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

/// Finds the programs for the conda platforms of a product.
pub(super) fn find(
    request: &ProductRequest,
    installers: BTreeMap<String, PathBuf>,
    subdirs: &[String],
    platforms: &[PackedEnvironment<'_>],
) -> Result<Programs, Error> {
    let mut pixi = Vec::new();
    for platform in subdirs.iter().filter(|_| request.with_pixi) {
        let missing = || ProductRequestError::NoPixi { platform: platform.clone() };
        pixi.push(locked_pixi(platforms, platform).ok_or_else(missing)?);
    }
    Ok(Programs { installers, pixi })
}

impl Programs {
    pub(super) fn write(&self, product: &Product) -> Result<WrittenPrograms, Error> {
        let mut written = WrittenPrograms { files: Vec::new(), pixi: None };
        for (platform, path) in &self.installers {
            let at = place(&format!("{BIN}/{platform}/pixi-oci"))?;
            let read = |source| FileError { action: "read", path: path.into(), source };
            let mut file = open(path, Links::Follow).map_err(read)?;
            let digest = product.file(&at, 0o755, None, &mut file)?;
            written.files.push(program(at.to_string(), digest));
        }
        for LockedPixi { platform, version, file_name, archive } in &self.pixi {
            let at = place(&format!("{BIN}/{platform}/pixi"))?;
            let mut digest = None;
            unpack(archive, file_name, &mut |entry| {
                if entry.path.as_str() == "bin/pixi" && entry.kind == Kind::File {
                    digest = Some(product.file(&at, 0o755, None, entry.body)?);
                }
                Ok::<_, Error>(())
            })??;
            let missing = || ProductRequestError::NoPixi { platform: platform.clone() };
            written.files.push(program(at.to_string(), digest.ok_or_else(missing)?));
            check_program(&product.root().join(at.as_str()), platform)?;
            written.pixi = Some(version.clone());
        }
        Ok(written)
    }
}

fn program(path: String, digest: Digest) -> ProductFile {
    ProductFile { path, digest: Some(digest), executable: true, target: None }
}

fn locked_pixi(platforms: &[PackedEnvironment<'_>], subdir: &str) -> Option<LockedPixi> {
    let mut of_platform = platforms.iter().filter(|platform| platform.target.platform.subdir.as_str() == subdir);
    of_platform.find_map(|platform| {
        platform.packages.iter().find_map(|package| match &package.kind {
            PackageKind::Conda(record) if package.name == "pixi" => {
                let record = &record.package_record;
                Some(LockedPixi {
                    platform: subdir.to_owned(),
                    version: record.version.to_string(),
                    file_name: format!("pixi-{}-{}", record.version, record.build),
                    archive: package.file().ok()?.1.to_owned(),
                })
            }
            _ => None,
        })
    })
}
