//! The air-gap product: the same workspace, targets and archives as for an image, as a directory.

mod programs;
mod project;
mod request;
mod sources;
mod write;

use std::{collections::BTreeMap, path::Path};

use pixi_oci_fetch::{ArchiveCache, CachedArchive};
use pixi_oci_layer::Digest;
use pixi_oci_lock::{LockFile, LockedPackage};
use pixi_oci_net::Client;
use pixi_oci_product::{
    FORMAT, MANIFEST, Problem, Product, ProductManifest, ScriptInput, Staging, check, write_cache, write_scripts,
};
use pixi_oci_workspace::Workspace;

pub(crate) use self::project::place;
pub use self::request::{ProductReport, ProductReportEnvironment, ProductRequest, ProductRequestError};
use self::{
    project::Project,
    sources::Builds,
    write::{Written, write_environment},
};
use crate::{
    BuildRequest, Error, Event, OnEvent,
    configuration::{Configuration, configuration},
    fetch::fetch_archives,
    lock::lock_file,
    locked::checked,
    packages::with_archives,
    sources::{Decided, SourcesInput, decide},
    target::{Target, targets},
};

/// One environment of a product.
struct Environment {
    request: BuildRequest,
    configuration: Configuration,
    targets: Vec<Target>,
    sources: Decided,
    /// For each target, of its packages that have archives.
    archives: Vec<Vec<CachedArchive>>,
}

/// Makes the product that `request` says, and gives the report of it. A product that was there is there until the new one
/// takes its place.
///
/// # Errors
///
/// See [`Error`].
pub fn product(request: &ProductRequest, client: &Client, on_event: OnEvent<'_>) -> Result<ProductReport, Error> {
    let workspace = Workspace::open(&request.build.workspace)?;
    let lock = lock_file(&workspace, &request.build, client, on_event)?;
    let workdir = std::path::absolute(&request.workdir).map_err(|source| Error::Io {
        action: "find",
        path: request.workdir.clone(),
        source,
    })?;
    let staging = Staging::beside(&workdir.join("product"))?;
    let cache = ArchiveCache::open(&request.build.cache_dir)?;
    let held = cache.hold();
    let mut environments = environments(request, &workspace, &lock, staging.scratch(), on_event)?;
    fetch(request, client, &mut environments, on_event)?;
    let builds = Builds { workspace: &workspace, client, scratch: staging.scratch(), on_event };
    let mut executed = Vec::new();
    for (number, environment) in environments.iter_mut().enumerate() {
        executed.extend(builds.run(number, environment)?);
    }

    let name = project::name(&workspace.name);
    let product = Product::new(staging.path());
    let mut written = Written::default();
    for environment in &environments {
        write_environment(&product, environment, &mut written, on_event)?;
    }
    let interrupted = || request.build.interrupted.load(std::sync::atomic::Ordering::Relaxed);
    if interrupted() {
        return Err(Error::Interrupted);
    }
    let project = Project { workspace: &workspace, name: &name, workdir: &workdir, environments: &environments };
    let files = project.write(&product, &mut written.warnings)?;
    let lock_file_digest = files
        .iter()
        .find(|file| file.path == format!("{name}/pixi.lock"))
        .and_then(|file| file.digest)
        .ok_or_else(|| ProductRequestError::NoLockFile { path: lock.path().into() })?;
    let resources = project.resources(&product, request.resources.as_deref(), &mut written.warnings)?;
    let subdirs = subdirs(&environments);
    for subdir in &subdirs {
        // Also for an environment without packages: it says that the product is for the platform.
        write_cache(&product, subdir)?;
    }
    let programs = programs::write(&product, request, &subdirs, &environments)?;
    let manifest = ProductManifest {
        format: FORMAT,
        pixi_oci: request.version.clone(),
        pixi: programs.pixi,
        name: name.clone(),
        workspace_manifest: workspace.manifest_file_name.clone(),
        lock_file_digest,
        platforms: subdirs,
        executed: sources::executed(&written.environments),
        environments: written.environments,
        project: files,
        resources,
        programs: programs.files,
    };
    let names: Vec<String> = environments.iter().map(|e| e.configuration.environment.clone()).collect();
    let input = ScriptInput { name: &name, workspace_manifest: &workspace.manifest_file_name, environments: &names };
    write_scripts(&product, &input)?;
    product.bytes(&place(MANIFEST)?, false, &manifest.to_json()?)?;
    let digest = product.finish()?;
    if interrupted() {
        return Err(Error::Interrupted);
    }
    project.copy(staging.scratch())?;
    let path = staging.replace()?;
    drop(held);
    cache.trim(request.build.archive_cache);
    written.warnings.sort();
    written.warnings.dedup();
    written.warnings.iter().for_each(|text| on_event(Event::Warning(text.clone())));
    Ok(ProductReport {
        product: path,
        digest,
        name,
        lock_file_digest,
        pixi: manifest.pixi,
        environments: manifest.environments.iter().map(ProductReportEnvironment::of).collect(),
        executed,
        warnings: written.warnings,
    })
}

/// Reads everything in a product, and says what is wrong. `version` is this program's.
///
/// # Errors
/// It cannot be read, or is no product.
pub fn check_product(directory: &Path, version: &str) -> Result<Vec<Problem>, Error> {
    Ok(check(directory, version)?)
}

fn environments(
    request: &ProductRequest,
    workspace: &Workspace,
    lock: &LockFile,
    scratch: &Path,
    on_event: OnEvent<'_>,
) -> Result<Vec<Environment>, Error> {
    let mut names: Vec<Option<String>> = request.environments.iter().cloned().map(Some).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        names.push(None);
    }
    let mut environments = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let own = BuildRequest { environment: name, ..request.build.clone() };
        let configuration = configuration(&own, workspace)?;
        request::check_name(&configuration.environment)?;
        let choose = || targets(&own, workspace, lock, &configuration);
        let targets = checked(&own, workspace, lock, &configuration, choose)?;
        let scratch = scratch.join(number.to_string());
        fs_err::create_dir_all(&scratch).map_err(|source| Error::Io {
            action: "make",
            path: scratch.clone(),
            source,
        })?;
        let sources = decide(&SourcesInput {
            request: &own,
            workspace,
            configuration: &configuration,
            targets: &targets,
            scratch: &scratch,
        })?;
        sources.warnings.iter().for_each(|text| on_event(Event::Warning(text.clone())));
        environments.push(Environment { request: own, configuration, targets, sources, archives: Vec::new() });
    }
    Ok(environments)
}

fn fetch(
    request: &ProductRequest,
    client: &Client,
    environments: &mut [Environment],
    on_event: OnEvent<'_>,
) -> Result<(), Error> {
    let packages: Vec<&LockedPackage> =
        environments.iter().flat_map(|e| &e.targets).flat_map(|target| &target.packages).collect();
    let mut archives = fetch_archives(&request.build, client, &packages, on_event)?.into_iter();
    for environment in environments {
        for target in &environment.targets {
            let own = archives.by_ref().take(with_archives(&target.packages).count()).collect();
            environment.archives.push(own);
        }
    }
    Ok(())
}

fn subdirs(environments: &[Environment]) -> Vec<String> {
    let all = environments.iter().flat_map(|e| &e.targets).map(|target| (target.platform.subdir.to_string(), ()));
    all.collect::<BTreeMap<_, _>>().into_keys().collect()
}

/// The digest as it is in products.
fn digest_of(sha256: &pixi_oci_lock::Sha256) -> Digest {
    Digest::from_bytes(*sha256.as_bytes())
}
