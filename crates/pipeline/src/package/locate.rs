//! From locked packages to what is known of them: in the caches, in published images, or by their archives.

use std::collections::BTreeMap;

use pixi_oci_fetch::FetchItem;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{CompleteFacts, Python, WheelFacts};
use rayon::prelude::*;

use crate::{
    Error, fetch::fetch_archives, package::Archive, package::Facts, package::Package, package::PackageKind,
    package::source_wheel::SourceWheel, package::wheel::Wheel, stock::Stock, stock::cache::FactsCache,
    stock::cache::KnownArchive, stock::previous::Previous,
};
use pixi_oci_project::{Session, Target};

/// The packages that are locked as archives, of which nothing is known yet.
pub fn locked<'a>(packages: &'a [LockedPackage], workdir: &str) -> Vec<Package<'a>> {
    let mut packages: Vec<Package<'a>> = packages
        .iter()
        .filter_map(|locked| match locked {
            LockedPackage::Conda(record) => Some(Package::conda(record, locked)),
            LockedPackage::Wheel(wheel) => Some(Package::wheel(Wheel::locked(wheel, workdir), Some(locked))),
            LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => None,
        })
        .collect();
    in_order(&mut packages);
    packages
}

/// Adds the wheels that stand for the target's sources.
pub fn with_wheels<'a>(
    mut packages: Vec<Package<'a>>,
    wheels: &BTreeMap<String, SourceWheel>,
    workdir: &str,
) -> Vec<Package<'a>> {
    packages.extend(wheels.values().map(|wheel| Package {
        archive: Some(Archive::here(wheel.path.clone(), wheel.sha256, wheel.size)),
        ..Package::wheel(Wheel::of_source(wheel, workdir), None)
    }));
    in_order(&mut packages);
    packages
}

/// Conda packages as the lock file has them, then wheels by name, the workspace's own last.
fn in_order(packages: &mut [Package<'_>]) {
    packages.sort_by_cached_key(|package| match &package.kind {
        PackageKind::Conda(_) => (0, String::new()),
        PackageKind::Wheel(wheel) => (1 + u8::from(package.is_own()), wheel.name.clone()),
    });
}

/// Fills in what is known on this machine, else in published images.
pub fn recognise(target: &Target, packages: &mut [Package<'_>], stock: &Stock<'_>) -> Result<(), Error> {
    let python = target.python()?;
    for cache in [&stock.facts].into_iter().chain(&stock.published_facts) {
        look_up(packages, python.as_ref(), |key| cache.get(key), |key| cache.get(key));
    }
    let Some(remote) = stock.remote.filter(|_| packages.iter().any(Package::is_unknown)) else { return Ok(()) };
    let unknown: Vec<String> = packages.iter().filter(|p| p.is_unknown()).map(|p| p.name.clone()).collect();
    let Previous { conda, wheels, .. } = remote.previous()?;
    look_up(packages, python.as_ref(), |key| conda.get(key).cloned(), |key| wheels.get(key).cloned());
    if let Some(cache) = stock.published_facts.as_ref().filter(|_| stock.keeps_published) {
        for package in packages.iter().filter(|package| unknown.contains(&package.name)) {
            keep(package, python.as_ref(), cache)?;
        }
    }
    Ok(())
}

/// Looks up what is in packages by their [keys](Package::facts_key).
fn look_up(
    packages: &mut [Package<'_>],
    python: Option<&Python>,
    conda: impl Fn(&str) -> Option<KnownArchive<CompleteFacts>> + Sync,
    wheels: impl Fn(&str) -> Option<KnownArchive<WheelFacts>> + Sync,
) {
    let find = |package: &Package<'_>| {
        let (sha256, key) = (package.sha256()?, package.facts_key(python)?);
        let (size, facts) = match &package.kind {
            PackageKind::Conda(record) => {
                let known = conda(&key).filter(|known| known.facts.facts.is_of(&record.package_record))?;
                (known.size, known.facts.into())
            }
            PackageKind::Wheel(wheel) => {
                let known = wheels(&key).filter(|known| known.facts.is_of(&wheel.file_name))?;
                (known.size, Facts::Wheel(known.facts))
            }
        };
        Some((Archive::known(sha256, size), facts))
    };
    packages.par_iter_mut().filter(|package| package.is_unknown()).for_each(|package| {
        let Some((archive, facts)) = find(package) else { return };
        // A lock file with another length is not to be trusted in the rest, either: let the archive decide.
        if package.size().is_none_or(|locked| locked == archive.size) {
            package.archive = Some(archive);
            package.facts = Some(facts);
        }
    });
}

fn keep(package: &Package<'_>, python: Option<&Python>, cache: &FactsCache) -> Result<(), Error> {
    let (Some(key), Some(archive)) = (package.facts_key(python), &package.archive) else { return Ok(()) };
    if let Some(Facts::Wheel(facts)) = &package.facts {
        cache.put(&key, &KnownArchive { size: archive.size, facts });
    } else if let Some(known) = package.complete_facts()? {
        cache.put(&key, &known);
    }
    Ok(())
}

/// Notes the archives that are in the cache, of packages of which nothing else is known.
pub fn find_archives(packages: &mut [Package<'_>], session: &Session) -> Result<(), Error> {
    let cache = session.archives()?;
    for package in packages.iter_mut().filter(|package| package.is_unknown()) {
        let Some(item) = package.locked.and_then(FetchItem::for_package) else { continue };
        package.archive = cache.lookup(&item)?.map(Archive::from);
    }
    Ok(())
}

/// Fetches the archives of packages of which nothing is known.
pub fn fetch_unknown<'p, 'a: 'p>(
    packages: impl Iterator<Item = &'p mut Package<'a>>,
    session: &Session,
) -> Result<(), Error> {
    let unknown = packages.filter(|package| package.is_unknown()).filter_map(|package| {
        let locked = package.locked?;
        Some((package, locked))
    });
    for (package, archive) in fetch_archives(unknown, session)? {
        package.archive = Some(archive.into());
    }
    Ok(())
}

impl Package<'_> {
    /// Whether neither its archive nor what is in it is known.
    pub fn is_unknown(&self) -> bool {
        self.archive.is_none()
    }
}
