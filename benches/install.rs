//! Installs a lock file's linux-64 packages as pixi would, with rattler's own installer: the first step of the recipe that
//! `benches/build` and `benches/run` compare with.
//!
//! ```text
//! rattler-install LOCK_FILE PACKAGE_CACHE PREFIX TARGET_PREFIX
//! ```

#![allow(missing_docs)]

use std::{env, error::Error, path::Path};

use rattler::{install::Installer, package_cache::PackageCache};
use rattler_conda_types::{RepoDataRecord, Subdir};
use rattler_lock::{LockFile, UrlOrPath};
use url::Url;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [lock_file, cache, prefix, target_prefix] = &arguments[..] else {
        return Err("usage: rattler-install LOCK_FILE PACKAGE_CACHE PREFIX TARGET_PREFIX".into());
    };
    let records = records(Path::new(lock_file))?;
    Installer::new()
        .with_package_cache(PackageCache::new(cache))
        .with_target_platform(Subdir::Linux64)
        .with_alternative_target_prefix(target_prefix)
        .with_execute_link_scripts(false)
        .install(prefix, records)
        .await?;
    Ok(())
}

/// The packages as the installer wants them. The lock file names archives by paths relative to itself.
fn records(lock_file: &Path) -> Result<Vec<RepoDataRecord>, Box<dyn Error>> {
    let lock_file = lock_file.canonicalize()?;
    let directory = lock_file.parent().ok_or("the lock file is in no directory")?;
    let lock = LockFile::from_path(&lock_file)?;
    let environment = lock.default_environment().ok_or("the lock file has no default environment")?;
    let platform = lock.platform("linux-64").ok_or("the lock file is not for linux-64")?;
    let packages = environment.conda_packages(platform).ok_or("the environment is not locked for linux-64")?;
    packages
        .map(|package| {
            let package = package.as_binary().ok_or("a package would have to be built from source")?;
            let url = match &package.location {
                UrlOrPath::Url(url) => url.clone(),
                UrlOrPath::Path(path) => {
                    let path = directory.join(path.as_str());
                    Url::from_file_path(&path).map_err(|()| format!("{} is no path", path.display()))?
                }
            };
            Ok(RepoDataRecord {
                package_record: package.package_record.clone(),
                identifier: package.file_name.clone(),
                url,
                channel: None,
            })
        })
        .collect()
}
