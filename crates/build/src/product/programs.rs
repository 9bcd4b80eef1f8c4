//! The programs of a product: pixi-oci itself, and pixi.

use std::{collections::BTreeMap, path::Path};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{UnpackedKind, unpack};
use pixi_oci_product::{BIN, Product, ProductFile, check_program};

use super::{Environment, ProductRequest, ProductRequestError, project::place};
use crate::{Error, packages::with_archives};

/// What was written.
pub(super) struct Programs {
    pub files: Vec<ProductFile>,
    /// The version of pixi, if it is there.
    pub pixi: Option<String>,
}

/// Writes the programs for the conda platforms of a product.
pub(super) fn write(
    product: &Product,
    request: &ProductRequest,
    platforms: &[String],
    environments: &[Environment],
) -> Result<Programs, Error> {
    let mut programs = Programs { files: Vec::new(), pixi: None };
    let own = request.own_installer.iter().filter(|(platform, _)| platforms.contains(platform));
    let all = own.chain(&request.installers).map(|(platform, path)| (platform, path.as_path()));
    let installers: BTreeMap<&String, &Path> = all.collect();
    for (platform, path) in installers {
        if !platforms.contains(platform) {
            return Err(
                ProductRequestError::Installer { platform: platform.clone(), platforms: platforms.join(", ") }.into()
            );
        }
        check_program(path, platform)?;
        let at = place(&format!("{BIN}/{platform}/pixi-oci"))?;
        let read = |source| Error::Io { action: "read", path: path.into(), source };
        let mut file = fs_err::File::open(path).map_err(read)?;
        let digest = product.file(&at, 0o755, None, &mut file)?;
        programs.files.push(program(at.to_string(), digest));
    }
    for platform in platforms.iter().filter(|_| request.with_pixi) {
        let missing = || ProductRequestError::NoPixi { platform: platform.clone() };
        let (name, version, archive) = locked_pixi(environments, platform).ok_or_else(missing)?;
        let at = place(&format!("{BIN}/{platform}/pixi"))?;
        let mut digest = None;
        unpack(&archive.path, &name, &mut |item| {
            if let ("bin/pixi", UnpackedKind::File(body)) = (item.path.as_str(), item.kind) {
                digest = Some(product.file(&at, 0o755, None, body)?);
            }
            Ok::<_, Error>(())
        })??;
        programs.files.push(program(at.to_string(), digest.ok_or_else(missing)?));
        check_program(&product.root().join(at.as_str()), platform)?;
        programs.pixi = Some(version);
    }
    Ok(programs)
}

fn program(path: String, digest: Digest) -> ProductFile {
    ProductFile { path, digest: Some(digest), executable: true, target: None }
}

/// Name, version and archive of the conda package `pixi` for a platform.
fn locked_pixi<'a>(environments: &'a [Environment], platform: &str) -> Option<(String, String, &'a CachedArchive)> {
    environments.iter().find_map(|environment| {
        let of_platform = environment.targets.iter().zip(&environment.archives);
        let mut of_platform = of_platform.filter(|(target, _)| target.platform.subdir.as_str() == platform);
        of_platform.find_map(|(target, archives)| {
            with_archives(&target.packages).zip(archives).find_map(|(package, archive)| match package {
                LockedPackage::Conda(record) if record.package_record.name.as_normalized() == "pixi" => {
                    let record = &record.package_record;
                    let name = format!("pixi-{}-{}", record.version, record.build);
                    Some((name, record.version.to_string(), archive))
                }
                _ => None,
            })
        })
    })
}
