//! The packages of an environment, checked as for an image and written to a product.

use std::collections::BTreeMap;

use pixi_oci_net::canonical_url;
use pixi_oci_product::{PackageEntry, Product, ProductEnvironment, write_conda_package, write_wheel};
use rattler_conda_types::RepoDataRecord;
use rayon::prelude::*;

use super::{PackedEnvironment, digest_of};
use crate::Error;
use pixi_oci_pipeline::{FactsCache, Package, PackageKind, Wheel, place};
use pixi_oci_project::{Event, Session, virtual_packages};

#[derive(Default)]
pub(super) struct Written {
    pub environments: Vec<ProductEnvironment>,
    pub warnings: Vec<String>,
}

/// Writes the packages of an environment on one platform.
pub(super) fn write_environment(
    product: &Product,
    platform: PackedEnvironment<'_>,
    written: &mut Written,
    session: &Session,
) -> Result<(), Error> {
    let PackedEnvironment { environment, target, mut packages, wheels } = platform;
    let locked = || packages.iter().filter(|package| package.locked.is_some());
    session.emit(Event::PackagesStarted {
        environment: environment.to_owned(),
        platform: target.platform.name.clone(),
        packages: locked().count(),
        bytes: locked().filter_map(Package::size).sum(),
    });
    // What cannot be installed should not get into the air gap.
    let glibc = virtual_packages::glibc(&target.virtual_packages);
    let warnings = place(target, &mut packages, glibc, &FactsCache::open(&session.caches.dir))?;
    written.warnings.extend(warnings);
    written.warnings.extend(packages.iter().filter_map(Package::unpinned_warning));
    for package in packages.iter().filter(|package| package.has_post_link()) {
        let package = &package.label;
        written.warnings.push(format!("{package} has a post-link script; --no-pixi does not run it"));
    }
    let directories: BTreeMap<String, String> = wheels
        .values()
        .filter_map(|wheel| Some((format!("pypi:{}", wheel.name), wheel.directory.as_ref()?.display().to_string())))
        .collect();
    let subdir = target.platform.subdir.to_string();
    let write = |package: &Package<'_>| {
        session.check()?;
        let entry = match &package.kind {
            PackageKind::Conda(record) => conda_entry(product, &subdir, record, package)?,
            PackageKind::Wheel(wheel) => wheel_entry(product, &subdir, wheel, package, &directories)?,
        };
        let name = match &package.kind {
            PackageKind::Conda(_) => &package.label,
            PackageKind::Wheel(_) => &package.name,
        };
        session.emit(Event::PackageWritten { package: name.clone(), bytes: entry.size });
        Ok(entry)
    };
    let entries: Result<Vec<PackageEntry>, Error> = packages.par_iter().map(write).collect();
    written.environments.push(ProductEnvironment {
        name: environment.to_owned(),
        platform: target.platform.name.clone(),
        subdir,
        packages: entries?,
    });
    Ok(())
}

fn conda_entry(
    product: &Product,
    subdir: &str,
    record: &RepoDataRecord,
    package: &Package<'_>,
) -> Result<PackageEntry, Error> {
    let (archive, path) = package.file()?;
    let package = &record.package_record;
    let digest = digest_of(&archive.sha256);
    let name = package.name.as_normalized();
    let key = format!("{name}-{}-{}", package.version, package.build);
    let file_name = record.identifier.to_file_name();
    let archive_path = write_conda_package(product, subdir, &key, &file_name, path, digest)?;
    Ok(PackageEntry {
        name: name.into(),
        version: package.version.to_string(),
        build: Some(package.build.to_string()),
        url: Some(canonical_url(&record.url)),
        archive: archive_path.to_string(),
        digest,
        size: archive.size,
        source: None,
        directory: None,
    })
}

fn wheel_entry(
    product: &Product,
    subdir: &str,
    wheel: &Wheel,
    package: &Package<'_>,
    directories: &BTreeMap<String, String>,
) -> Result<PackageEntry, Error> {
    let (archive, path) = package.file()?;
    let (digest, size) = (digest_of(&archive.sha256), archive.size);
    let archive = write_wheel(product, subdir, &wheel.file_name, path, digest)?;
    Ok(PackageEntry {
        name: wheel.package_name(),
        version: wheel.version.clone(),
        build: None,
        url: wheel.url.clone(),
        archive: archive.to_string(),
        digest,
        size,
        source: Some(wheel.source.name().into()),
        directory: directories.get(&wheel.package_name()).cloned(),
    })
}
