//! The air-gap product: the same workspace, targets and archives as for an image, as a directory.

mod error;
mod install;
mod programs;
mod project;
mod request;
mod sources;
mod write;

use pixi_oci_platform::cannot;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

pub use pixi_oci_layer::Digest;
use pixi_oci_product::{FORMAT, Product, Staging, write_cache};

pub use self::request::{ProductReport, ProductReportEnvironment, ProductRequest, ProductRequestError};
pub use self::{
    error::Error,
    install::{InstallRequest, install_product},
};
use self::{
    project::Files,
    write::{Written, write_environment},
};
use pixi_oci_pipeline::{Package, SourceWheel, fetch_unknown, find_archives, locked, with_wheels};
pub use pixi_oci_product::{ProductManifest, check as check_product};
use pixi_oci_project::{Project, Session, Target};
use pixi_oci_sources::{Decided, decide};

struct Environment {
    project: Project,
    sources: Decided,
}

/// An environment on one platform, with its packages' archives.
struct PackedEnvironment<'a> {
    environment: &'a str,
    target: &'a Target,
    packages: Vec<Package<'a>>,
    /// The wheels that stand for its sources, by package name.
    wheels: &'a BTreeMap<String, SourceWheel>,
}

/// Makes the product of environments of a workspace, at least one, and gives the report of it. A product that was there is
/// there until the new one takes its place.
pub fn product(projects: Vec<Project>, request: &ProductRequest, session: &Session) -> Result<ProductReport, Error> {
    let workdir = std::path::absolute(&request.workdir).map_err(cannot("find", &request.workdir))?;
    let staging = Staging::beside(&workdir.join("product"))?;
    let cache = session.archives()?;
    let held = cache.hold();
    let mut environments = Vec::new();
    for (number, project) in projects.into_iter().enumerate() {
        environments.push(environment(project, &staging.scratch().join(number.to_string()), session)?);
    }
    // What the workspace cannot be a product with is said before anything is downloaded.
    let targets = || environments.iter().flat_map(|environment| &environment.project.targets);
    let subdirs: BTreeSet<String> = targets().map(|target| target.platform.subdir.to_string()).collect();
    let subdirs: Vec<String> = subdirs.into_iter().collect();
    programs::check_pixi(request, &environments)?;
    let installers = programs::installers(request, &subdirs)?;
    let first = environments.first().ok_or(ProductRequestError::NoEnvironments)?;
    let name = project::name(&first.project.workspace.about.name);
    let workspace = &first.project.workspace;
    Files { workspace, name: &name, workdir: &workdir, environments: &environments }
        .check(request.resources.as_deref())?;
    let mut packages: Vec<Package<'_>> = Vec::new();
    for target in targets() {
        packages.extend(locked(&target.packages, ""));
    }
    fetch_unknown(packages.iter_mut(), session)?;
    drop(packages);
    let mut executed = Vec::new();
    for (number, environment) in environments.iter_mut().enumerate() {
        let scratch = staging.scratch().join(format!("sources-{number}"));
        executed.extend(sources::build(environment, &scratch, session)?);
    }
    let platforms = platforms(&environments, session)?;
    let first = environments.first().ok_or(ProductRequestError::NoEnvironments)?;
    let (workspace, lock) = (&first.project.workspace, &first.project.lock);
    let product = Product::new(staging.path());
    let mut written = Written::default();
    let programs = programs::write(&product, request, &installers, &subdirs, &platforms)?;
    for platform in platforms {
        write_environment(&product, platform, &mut written, session)?;
    }
    session.check()?;
    let project = Files { workspace, name: &name, workdir: &workdir, environments: &environments };
    let files = project.write(&product, &mut written.warnings)?;
    let lock_file_digest = files
        .iter()
        .find(|file| file.path == format!("{name}/pixi.lock"))
        .and_then(|file| file.digest)
        .ok_or_else(|| ProductRequestError::NoLockFile { path: lock.path().into() })?;
    let resources = project.resources(&product, request.resources.as_deref(), &mut written.warnings)?;
    for subdir in &subdirs {
        // Also for an environment without packages: it says that the product is for the platform.
        write_cache(&product, subdir)?;
    }
    let manifest = ProductManifest {
        format: FORMAT,
        pixi_oci: request.version.clone(),
        pixi: programs.pixi,
        image: request.image,
        name: name.clone(),
        workspace_manifest: workspace.manifest_file_name(),
        lock_file_digest,
        platforms: subdirs,
        executed: sources::executed(&written.environments),
        environments: written.environments,
        project: files,
        resources,
        programs: programs.files,
    };
    let digest = product.finish(&manifest)?;
    session.check()?;
    project.copy(staging.scratch())?;
    let path = staging.replace()?;
    drop(held);
    cache.trim(session.caches.archives);
    written.warnings.sort();
    written.warnings.dedup();
    written.warnings.iter().for_each(|text| session.warn(text.as_str()));
    Ok(ProductReport {
        product: path,
        digest,
        name,
        lock_file_digest,
        pixi: manifest.pixi,
        image: manifest.image,
        environments: manifest.environments.iter().map(ProductReportEnvironment::of).collect(),
        executed,
        warnings: written.warnings,
    })
}

fn environment(project: Project, scratch: &Path, session: &Session) -> Result<Environment, Error> {
    request::check_name(&project.configuration.environment)?;
    fs_err::create_dir_all(scratch).map_err(cannot("make", scratch))?;
    let sources = decide(&project, scratch)?;
    sources.warnings.iter().for_each(|text| session.warn(text.as_str()));
    Ok(Environment { project, sources })
}

/// All environments on all their platforms; every archive is on this machine.
fn platforms<'a>(environments: &'a [Environment], session: &Session) -> Result<Vec<PackedEnvironment<'a>>, Error> {
    let mut platforms = Vec::new();
    for Environment { project, sources } in environments {
        let workdir = &project.configuration.workdir;
        for target in &project.targets {
            let wheels = sources.wheels(target);
            let mut packages = locked(&target.packages, workdir);
            find_archives(&mut packages, session)?;
            // Files on this machine that the lock file has no hash of are read anew.
            if packages.iter().any(Package::is_unknown) {
                fetch_unknown(packages.iter_mut(), session)?;
            }
            let packages = with_wheels(packages, wheels, workdir);
            platforms.push(PackedEnvironment {
                environment: &project.configuration.environment,
                target,
                packages,
                wheels,
            });
        }
    }
    Ok(platforms)
}

fn digest_of(sha256: &pixi_oci_lock::Sha256) -> Digest {
    Digest::from_bytes(*sha256.as_bytes())
}
