//! The packages of an environment, checked as for an image and written to a product.

use std::collections::BTreeMap;

use pixi_oci_product::{CondaPackage, PackageEntry, Product, ProductEnvironment, write_conda_package, write_wheel};
use pixi_oci_resolve::{CachedArchive, canonical_url};
use rattler_conda_types::RepoDataRecord;
use rayon::prelude::*;

use super::{Environment, digest_of};
use crate::{
    Error, Event, OnEvent, WheelSource,
    packages::{Contents, Ready, conda_archives, read_infos, ready_packages, with_post_link},
    target::Target,
    virtual_packages,
    wheels::{TargetWheel, target_wheels},
};

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    pub environments: Vec<ProductEnvironment>,
    pub warnings: Vec<String>,
}

/// Writes the packages of all platforms of an environment.
pub(super) fn write_environment(
    product: &Product,
    environment: &Environment,
    written: &mut Written,
    on_event: OnEvent<'_>,
) -> Result<(), Error> {
    let per_target = environment.targets.iter().zip(&environment.archives).zip(&environment.sources.wheels);
    for ((target, archives), sources) in per_target {
        on_event(Event::LayersStarted {
            platform: target.platform.name.clone(),
            layers: archives.len(),
            bytes: archives.iter().map(|archive| archive.size).sum(),
        });
        let contents = Contents {
            conda: conda_archives(&target.packages, archives),
            wheels: target_wheels(target, archives, sources, &environment.configuration.workdir),
        };
        // What cannot be installed should not get into the air gap.
        let glibc = virtual_packages::glibc(&target.virtual_packages);
        let infos = read_infos(target, &contents, glibc)?;
        let Ready { packages, warnings } = ready_packages(target, &contents, &infos)?;
        written.warnings.extend(warnings);
        for package in with_post_link(&packages) {
            written.warnings.push(format!("{package} has a post-link script; --no-pixi does not run it"));
        }
        let directories: BTreeMap<String, String> = sources
            .values()
            .filter_map(|wheel| Some((format!("pypi:{}", wheel.name), wheel.directory.as_ref()?.display().to_string())))
            .collect();
        let entries = packages_of(product, target, &contents, &directories, environment, on_event)?;
        written.environments.push(ProductEnvironment {
            name: environment.configuration.environment.clone(),
            platform: target.platform.name.clone(),
            subdir: target.platform.subdir.to_string(),
            packages: entries,
        });
    }
    Ok(())
}

fn packages_of(
    product: &Product,
    target: &Target,
    contents: &Contents<'_>,
    directories: &BTreeMap<String, String>,
    environment: &Environment,
    on_event: OnEvent<'_>,
) -> Result<Vec<PackageEntry>, Error> {
    let subdir = target.platform.subdir.to_string();
    let done = |size, label: String| on_event(Event::LayerFinished { bytes: size, packages: vec![label] });
    let interrupted = || environment.request.interrupted.load(std::sync::atomic::Ordering::Relaxed);
    let conda = contents.conda.par_iter().map(|(record, archive)| {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let entry = conda(product, &subdir, record, archive)?;
        done(archive.size, crate::packages::label(record));
        Ok(entry)
    });
    let mut entries: Vec<PackageEntry> = conda.collect::<Result<_, Error>>()?;
    for wheel in &contents.wheels {
        entries.push(self::wheel(product, &subdir, wheel, directories)?);
        done(wheel.size, wheel.package_name());
    }
    Ok(entries)
}

fn conda(
    product: &Product,
    subdir: &str,
    record: &RepoDataRecord,
    archive: &CachedArchive,
) -> Result<PackageEntry, Error> {
    let package = &record.package_record;
    let digest = digest_of(&archive.sha256);
    let name = package.name.as_normalized();
    let archive_path = write_conda_package(
        product,
        subdir,
        &CondaPackage {
            key: &format!("{name}-{}-{}", package.version, package.build),
            file_name: &record.identifier.to_file_name(),
            archive: &archive.path,
            digest,
        },
    )?;
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

fn wheel(
    product: &Product,
    subdir: &str,
    wheel: &TargetWheel,
    directories: &BTreeMap<String, String>,
) -> Result<PackageEntry, Error> {
    let digest = digest_of(&wheel.sha256);
    let archive = write_wheel(product, subdir, &wheel.file_name, &wheel.path, digest)?;
    let source = match wheel.source {
        WheelSource::Lock => "lock",
        WheelSource::Injected => "injected",
        WheelSource::Built => "built",
        WheelSource::Own => "own",
    };
    Ok(PackageEntry {
        name: wheel.package_name(),
        version: wheel.version.clone(),
        build: None,
        url: wheel.url.clone(),
        archive: archive.to_string(),
        digest,
        size: wheel.size,
        source: Some(source.into()),
        directory: directories.get(&wheel.package_name()).cloned(),
    })
}
