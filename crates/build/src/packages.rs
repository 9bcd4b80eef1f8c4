//! From locked packages and their archives to packages that can be written: metadata read, paths decided.

use std::{collections::BTreeMap, path::Path};

use pixi_oci_package::{CondaMeta, PackageFacts, PackageInfo, PlanInput, link_plan, read_info, read_links};
use pixi_oci_resolve::{CachedArchive, LockedPackage, canonical_channel, canonical_url};
use rattler_conda_types::RepoDataRecord;
use rayon::prelude::*;

use crate::{Error, SizedPackage, layers::ReadyPackage, target::Target};

/// The conda packages of a target.
///
/// # Errors
///
/// [`Error::Unsupported`] names everything that is not a conda package from a channel.
pub fn conda_records(packages: &[LockedPackage]) -> Result<Vec<&RepoDataRecord>, Error> {
    let other: Vec<String> = packages
        .iter()
        .filter_map(|package| match package {
            LockedPackage::Conda(_) => None,
            LockedPackage::CondaSource { location, .. } => {
                Some(format!("{} (conda source package {location})", package.name()))
            }
            LockedPackage::Wheel(wheel) => Some(format!("{} (wheel {})", package.name(), wheel.file_name)),
            LockedPackage::PypiSource { location, .. } => Some(format!("{} (source {location})", package.name())),
        })
        .collect();
    if !other.is_empty() {
        return Err(Error::Unsupported { packages: other });
    }
    Ok(packages
        .iter()
        .filter_map(|package| match package {
            LockedPackage::Conda(record) => Some(&**record),
            _ => None,
        })
        .collect())
}

/// Reads what the archives say about themselves, in the order of `records`.
pub fn read_infos(records: &[&RepoDataRecord], archives: &[&CachedArchive]) -> Result<Vec<PackageInfo>, Error> {
    let infos: Vec<Result<PackageInfo, pixi_oci_package::Error>> = records
        .par_iter()
        .zip(archives)
        .map(|(record, archive)| read_info(&archive.path, &record.package_record))
        .collect();
    Ok(infos.into_iter().collect::<Result<_, _>>()?)
}

/// Decides where every path goes and makes packages that can be written.
pub fn ready_packages<'a>(
    target: &Target,
    records: &[&RepoDataRecord],
    archives: &[&'a CachedArchive],
    infos: &'a [PackageInfo],
) -> Result<Vec<ReadyPackage<'a>>, Error> {
    let facts: Vec<PackageFacts> = infos.iter().map(PackageInfo::facts).collect();
    let inputs: Vec<PlanInput<'_>> =
        records.iter().zip(&facts).map(|(record, facts)| PlanInput { record: &record.package_record, facts }).collect();
    let mut links_of = |index: usize| read_links(&archives[index].path, &infos[index]);
    let plans = link_plan(&inputs, target.platform.subdir, &BTreeMap::new(), &mut links_of)?;
    records
        .iter()
        .zip(archives)
        .zip(infos.iter().zip(plans))
        .map(|((record, archive), (info, plan))| {
            let package = &record.package_record;
            Ok(ReadyPackage {
                label: label(record),
                archive: &archive.path,
                size: archive.size,
                meta: meta(record, archive)?,
                info,
                plan,
                name: package.name.as_normalized().to_string(),
            })
        })
        .collect()
}

/// `NAME VERSION BUILD`
pub fn label(record: &RepoDataRecord) -> String {
    let package = &record.package_record;
    format!("{} {} {}", package.name.as_normalized(), package.version, package.build)
}

fn meta(record: &RepoDataRecord, archive: &CachedArchive) -> Result<CondaMeta, Error> {
    let url = canonical_url(&record.url);
    Ok(CondaMeta {
        url: url.parse().map_err(|_| Error::Url { package: label(record), url })?,
        channel: record.channel.as_deref().map(canonical_channel),
        sha256: (*archive.sha256.as_bytes()).into(),
        size: archive.size,
    })
}

/// What the grouping needs to know.
pub fn sized(packages: &[ReadyPackage<'_>]) -> Vec<SizedPackage> {
    packages.iter().map(|package| SizedPackage { name: package.name.clone(), size: package.size }).collect()
}

/// Whether some package has a file at `path` below the prefix.
pub fn has_path(packages: &[ReadyPackage<'_>], path: &str) -> bool {
    packages.iter().any(|package| package.plan.paths.iter().any(|planned| planned.path.as_str() == path))
}

/// The packages' activation scripts below the prefix, in the order in which conda runs them: by file name.
pub fn activation_scripts(packages: &[ReadyPackage<'_>]) -> Vec<String> {
    let mut scripts: Vec<String> = packages
        .iter()
        .flat_map(|package| &package.plan.paths)
        .map(|planned| planned.path.as_str())
        .filter(|path| {
            // rattler_shell takes these endings for bash.
            let name = path.strip_prefix("etc/conda/activate.d/").unwrap_or_default();
            !name.contains('/') && (name.ends_with(".sh") || name.ends_with(".bash"))
        })
        .map(str::to_string)
        .collect();
    scripts.sort();
    scripts
}

/// Labels of the packages with a script that conda would run after linking.
pub fn with_post_link(packages: &[ReadyPackage<'_>]) -> Vec<String> {
    let has_script = |package: &&ReadyPackage<'_>| {
        package
            .info
            .link_scripts
            .iter()
            .any(|path| Path::new(path.as_str()).to_string_lossy().ends_with("-post-link.sh"))
    };
    packages.iter().filter(has_script).map(|package| package.label.clone()).collect()
}
