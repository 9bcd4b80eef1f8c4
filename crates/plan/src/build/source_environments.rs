//! Environments without their sources, as images and on this machine: what builds of sources run in, and are given.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use pixi_oci_image::Index;
use pixi_oci_lock::LockedPackage;
use pixi_oci_package::{PackageInfo, TargetPrefix, read_info};
use pixi_oci_store::{OciLayout, publish};
use pixi_oci_workspace::OciConfig;

use super::installation::Installation;
use crate::Error;
use pixi_oci_pipeline::{
    Base, Downloads, Package, SourceReport, Together, Workshop, fetch_archives, fetch_unknown, locked,
};
use pixi_oci_project::Target;
use pixi_oci_sources::{Builds, Decided, Means, Need, Place};

/// Builds what is pending, and adds the wheels to what was decided.
pub fn build_sources(decided: &mut Decided, workshop: &Workshop<'_>) -> Result<(), Error> {
    if decided.pending.is_empty() {
        return Ok(());
    }
    let Workshop { project, session, scratch, .. } = *workshop;
    let tools = match &project.configuration.oci.build_environment {
        Some(name) => project.environment(Some(name.clone()))?,
        None => project.clone(),
    };
    let means = Means { project, tools: &tools, session, scratch };
    let workshop = &Workshop { project: &tools, ..*workshop };
    let mut builds = Builds::open(decided, &means)?;
    while let Some(need) = builds.proceed()? {
        match need {
            Need::Base(index) => builds.base(index, base_digest(workshop, index)?),
            Need::Infos(index) => builds.infos(index, &infos(workshop, index)?)?,
            Need::Environment(index, place) => {
                let target = builds.target(index);
                match &place {
                    Place::Layout { directory, tag } => write(workshop, &target, directory, tag)?,
                    Place::Prefix { prefix, activate } => install(workshop, &target, prefix, activate)?,
                }
                builds.environment(index, place)?;
            }
        }
    }
    Ok(())
}

/// What a target's conda packages say about themselves.
fn infos(workshop: &Workshop<'_>, index: usize) -> Result<Vec<PackageInfo>, Error> {
    let conda = workshop.project.targets[index].packages.iter().filter_map(|package| match package {
        LockedPackage::Conda(record) => Some((record, package)),
        _ => None,
    });
    let archives = fetch_archives(conda, workshop.session)?;
    let infos = archives.iter().map(|(record, archive)| read_info(&archive.path, &record.package_record));
    Ok(infos.collect::<Result<_, _>>()?)
}

/// The digest of a target's base image; `None` for `scratch`.
fn base_digest(workshop: &Workshop<'_>, index: usize) -> Result<Option<String>, Error> {
    let architecture = workshop.project.targets[index].architecture;
    let base = Base::open(workshop.project, architecture, workshop.session)?;
    Ok(base.report().map(|report| report.digest.to_string()))
}

/// Writes a target's packages to a prefix on this machine, and a script for shells that sets them up.
fn install(workshop: &Workshop<'_>, target: &Target, to: &Path, activate: &Path) -> Result<(), Error> {
    let (project, session) = (workshop.project, workshop.session);
    let installation = Installation {
        workspace: &project.workspace,
        environment: &project.configuration.environment,
        target,
        prefix: &TargetPrefix::new(&to.to_string_lossy())?,
        project: &project.workspace.root,
        activate: Some(activate),
        memory: session.resources.memory,
        cancelled: &session.cancelled,
    };
    installation.write(packages(target, workshop)?)?;
    Ok(())
}

/// Writes the image of a target's packages into an empty directory, as an OCI layout.
fn write(workshop: &Workshop<'_>, target: &Target, directory: &Path, tag: &str) -> Result<(), Error> {
    let mut project = workshop.project.clone();
    // Nothing of the application, and neither its user nor its command.
    let base_glibc = project.configuration.oci.base_glibc;
    project.set_plain_image(OciConfig { user: Some("0:0".into()), base_glibc, ..OciConfig::default() });
    let layout = OciLayout::open(directory)?;
    // Its layers are for this machine only.
    let workshop = Workshop { project: &project, layout: &layout, on_layer: &|_| (), ..*workshop };
    let base = Base::of_target(&project, target, workshop.session)?;
    workshop.put_base(&base)?;
    // All is here.
    let downloads = Downloads::new(&Arc::new(Together::new(workshop.session)));
    let (image, _) = workshop.image(target, packages(target, &workshop)?, &base, &downloads)?;
    let index = Index::new(vec![image], &BTreeMap::new())?;
    // The layers are in the layout already.
    publish(&index, &BTreeMap::new(), &layout, Some(tag))?;
    Ok(())
}

fn packages<'a>(target: &'a Target, workshop: &Workshop<'_>) -> Result<Vec<Package<'a>>, Error> {
    let mut packages = locked(&target.packages, &workshop.project.configuration.workdir);
    fetch_unknown(packages.iter_mut(), workshop.session)?;
    Ok(packages)
}

/// What the report says of the wheels that stand for sources.
pub fn reports(decided: &Decided, targets: &[Target]) -> Vec<SourceReport> {
    let all = targets.iter().flat_map(|target| {
        decided.wheels(target).iter().map(|(package, wheel)| SourceReport {
            package: package.clone(),
            conda_platform: target.platform.name.clone(),
            wheel: wheel.file_name.clone(),
            sha256: wheel.sha256.to_string(),
            origin: wheel.origin,
        })
    });
    all.collect()
}
