//! The packages of an environment, checked as for an image and written to a product.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use pixi_oci_fetch::CachedArchive;
use pixi_oci_lock::LockedPackage;
use pixi_oci_net::canonical_url;
use pixi_oci_product::{CondaPackage, PackageEntry, Product, ProductEnvironment, write_conda_package, write_wheel};
use rattler_conda_types::RepoDataRecord;
use rayon::prelude::*;

use super::{Environment, digest_of};
use crate::{
    BuildRequest, Error, Event, OnEvent, WheelSource,
    cache::FactsCache,
    packages::{Contents, Ready, facts, label, ready_packages, with_archives, with_post_link},
    target::Target,
    virtual_packages,
    wheels::{TargetWheel, WheelFile},
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
        on_event(Event::PackagesStarted {
            environment: environment.configuration.environment.clone(),
            platform: target.platform.name.clone(),
            packages: archives.len(),
            bytes: archives.iter().map(|archive| archive.size).sum(),
        });
        let none_known = archives.iter().map(|_| None).collect();
        let workdir = &environment.configuration.workdir;
        let contents = Contents::new(target, none_known, &mut archives.iter().cloned(), sources, workdir);
        // What cannot be installed should not get into the air gap.
        let glibc = virtual_packages::glibc(&target.virtual_packages);
        let cache = FactsCache::open(&environment.request.cache_dir);
        let facts = facts(target, &contents, glibc, &cache)?;
        let Ready { packages, warnings } = ready_packages(target, &contents, &facts)?;
        written.warnings.extend(warnings);
        for package in with_post_link(&packages) {
            written.warnings.push(format!("{package} has a post-link script; --no-pixi does not run it"));
        }
        let directories: BTreeMap<String, String> = sources
            .values()
            .filter_map(|wheel| Some((format!("pypi:{}", wheel.name), wheel.directory.as_ref()?.display().to_string())))
            .collect();
        let packages = Packages { target, archives, wheels: &contents.wheels, directories: &directories };
        let entries = packages.write(product, &environment.request, on_event)?;
        written.environments.push(ProductEnvironment {
            name: environment.configuration.environment.clone(),
            platform: target.platform.name.clone(),
            subdir: target.platform.subdir.to_string(),
            packages: entries,
        });
    }
    Ok(())
}

/// What an environment is made of on one platform.
struct Packages<'a> {
    target: &'a Target,
    /// Of its packages that have one.
    archives: &'a [CachedArchive],
    wheels: &'a [TargetWheel],
    /// The directories that wheels were made of, by package name.
    directories: &'a BTreeMap<String, String>,
}

impl Packages<'_> {
    fn write(
        &self,
        product: &Product,
        request: &BuildRequest,
        on_event: OnEvent<'_>,
    ) -> Result<Vec<PackageEntry>, Error> {
        let subdir = self.target.platform.subdir.to_string();
        let done = |bytes, name: String| on_event(Event::PackageWritten { name, bytes });
        let locked: Vec<_> = with_archives(&self.target.packages).zip(self.archives).collect();
        let conda = locked.par_iter().filter_map(|(package, archive)| match package {
            LockedPackage::Conda(record) => Some((record, archive)),
            _ => None,
        });
        let entries = conda.map(|(record, archive)| {
            if request.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let entry = conda_entry(product, &subdir, record, archive)?;
            done(archive.size, label(record));
            Ok(entry)
        });
        let mut entries: Vec<PackageEntry> = entries.collect::<Result<_, Error>>()?;
        for wheel in self.wheels {
            entries.push(wheel_entry(product, &subdir, wheel, self.directories)?);
            done(wheel.size, wheel.package_name());
        }
        Ok(entries)
    }
}

fn conda_entry(
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

fn wheel_entry(
    product: &Product,
    subdir: &str,
    wheel: &TargetWheel,
    directories: &BTreeMap<String, String>,
) -> Result<PackageEntry, Error> {
    let digest = digest_of(&wheel.sha256);
    let WheelFile::Here(path) = &wheel.file else {
        return Err(Error::NotFetched { package: wheel.package_name() });
    };
    let archive = write_wheel(product, subdir, &wheel.file_name, path, digest)?;
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
