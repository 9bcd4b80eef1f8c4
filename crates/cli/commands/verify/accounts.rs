//! The packages of an image and the lock file in it.

use std::path::Path;

use pixi_oci_image::Architecture;
use pixi_oci_project::{ImagePackage, lock_differences};
use pixi_oci_verify::{ImageReport, PackageKind, PackageRecord, Project, Report, RunError, Scratch, read_project};

use crate::error::CliError;

/// Reads the project in the first image, and compares all images of ours with their own lock files.
pub fn project(layout: &Path, report: &mut Report, scratch: &Path) -> Result<Project, CliError> {
    // Of what is damaged, nothing is read.
    if !report.is_sound() {
        return Ok(Project::default());
    }
    let mut first = None;
    for image in report.images.clone() {
        let read = read_project(layout, &image);
        let project = read.map_err(|source| CliError::Io { action: "read the project in the image".into(), source })?;
        if image.accounted {
            report.not_locked(&image.manifest, differences(&image, &project, scratch)?);
        }
        first.get_or_insert(project);
    }
    Ok(first.unwrap_or_default())
}

fn differences(image: &ImageReport, project: &Project, scratch: &Path) -> Result<Vec<String>, CliError> {
    let architecture = image.platform.split('/').nth(1).and_then(|name| name.parse::<Architecture>().ok());
    let (Some(_), Some(architecture)) = (project.lock_file(), architecture) else {
        return Ok(vec!["the image has no lock file, or is of an architecture that none can have".into()]);
    };
    let files = workspace(project, scratch)?;
    let packages: Vec<ImagePackage> = image.packages.iter().map(package).collect();
    let environment = project.environment.as_deref().unwrap_or("default");
    // What the image says of its lock file is no fault of ours.
    Ok(lock_differences(files.path(), environment, architecture, &packages)
        .unwrap_or_else(|error| vec![format!("the lock file in the image cannot be read: {error}")]))
}

fn package(record: &PackageRecord) -> ImagePackage {
    let prefix = match record.kind {
        PackageKind::Conda => "",
        PackageKind::Pypi => "pypi:",
    };
    ImagePackage {
        name: format!("{prefix}{}", record.name),
        version: record.version.clone(),
        sha256: record.sha256.clone(),
    }
}

/// Manifest and lock file in a directory of their own.
pub fn workspace(project: &Project, scratch: &Path) -> Result<Scratch, CliError> {
    let files = Scratch::new(scratch).map_err(RunError::from)?;
    for (name, bytes) in &project.files {
        let path = files.path().join(name);
        let write = std::fs::write(&path, bytes);
        write.map_err(|source| CliError::Io { action: format!("write {}", path.display()), source })?;
    }
    Ok(files)
}

/// What is said of images in which nothing is wrong.
pub fn summary(image: &str, report: &Report) -> String {
    let number = report.images.len();
    let accounts = match report.images.iter().filter(|image| image.accounted).count() {
        0 => "; not made by pixi-oci, so its files are not accounted for",
        n if n == number => ", and every file above the base is accounted for",
        _ => "; not all images are made by pixi-oci and accounted for",
    };
    format!("{image}: {number} images; every digest, size and diff id is right{accounts}")
}
