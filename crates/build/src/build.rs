//! The pipeline: a locked workspace in, images and an index at a destination out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pixi_oci_image::{Image, Index};
use pixi_oci_layer::Digest;
use pixi_oci_publish::{DestinationRef, OciLayout, publish};
use pixi_oci_resolve::{Client, LockedPackage, Workspace};

use crate::{
    BuildReport, BuildRequest, Error, ImageReport, OnEvent, configuration::configuration, fetch::fetch_archives,
    image::ImageBuilder, packages::conda_records, target::targets,
};

/// Builds what `request` says, and gives the report of it. Nothing is visible at the destination before all is done.
///
/// # Errors
///
/// See [`Error`]. A failed build leaves the destination as it was.
pub fn build(request: &BuildRequest, client: &Client, on_event: OnEvent<'_>) -> Result<BuildReport, Error> {
    let workspace = Workspace::open(&request.workspace)?;
    let configuration = configuration(request, &workspace)?;
    let lock = workspace.lock_file()?;
    let lock_file_digest = digest_of(lock.path())?;
    let targets = targets(request, &workspace, &lock, &configuration)?;
    let records = targets.iter().map(|target| conda_records(&target.packages)).collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<&LockedPackage> = targets.iter().flat_map(|target| &target.packages).collect();
    let archives = fetch_archives(request, client, &packages, on_event)?;
    let output = Output::open(request, &workspace)?;

    let builder = ImageBuilder {
        request,
        workspace: &workspace,
        configuration: &configuration,
        output: output.reference.path(),
        layout: &output.layout,
        on_event,
    };
    let mut images: Vec<Image> = Vec::new();
    let mut reports: Vec<ImageReport> = Vec::new();
    let mut archives = &archives[..];
    for (target, records) in targets.iter().zip(&records) {
        let (own, rest) = archives.split_at(records.len());
        archives = rest;
        let (image, report) = builder.image(target, records, &own.iter().collect::<Vec<_>>())?;
        images.push(image);
        reports.push(report);
    }
    let index = Index::new(images, &builder.annotations()?)?;
    let digest = output.publish(&index)?;
    Ok(BuildReport {
        reference: output.reference.to_string(),
        digest,
        environment: configuration.environment,
        lock_file_digest,
        images: reports,
        executed: Vec::new(),
    })
}

fn digest_of(path: &Path) -> Result<Digest, Error> {
    let bytes = fs_err::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    Ok(Digest::of(&bytes))
}

/// The destination, and the layout in which layers are made: the destination itself, or one beside the archive.
struct Output {
    reference: DestinationRef,
    layout: OciLayout,
    /// Holds the layout beside an archive; removed when the build ends.
    temporary: Option<tempfile::TempDir>,
}

impl Output {
    fn open(request: &BuildRequest, workspace: &Workspace) -> Result<Self, Error> {
        let default = || format!("oci:{}", workspace.root.join("dist/oci").display());
        let reference = DestinationRef::parse(&request.output.clone().unwrap_or_else(default))?;
        if let DestinationRef::OciLayout { dir, .. } = &reference {
            return Ok(Self { layout: OciLayout::open(dir)?, reference, temporary: None });
        }
        // Beside the archive, so that it is on a disk that has room for the result.
        let parent = reference.path().parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let io = |source| Error::Io { action: "make a temporary directory in", path: parent.into(), source };
        fs_err::create_dir_all(parent).map_err(io)?;
        let temporary = tempfile::Builder::new().prefix(".pixi-oci-").tempdir_in(parent).map_err(io)?;
        Ok(Self { layout: OciLayout::open(temporary.path())?, reference, temporary: Some(temporary) })
    }

    fn publish(&self, index: &Index) -> Result<Digest, Error> {
        let layers = index.images.iter().flat_map(|image| &image.layers);
        let blobs: BTreeMap<Digest, PathBuf> =
            layers.map(|layer| (layer.descriptor.digest, self.layout.blob_path(&layer.descriptor.digest))).collect();
        let published = match &self.temporary {
            None => publish(index, &blobs, &self.layout, self.reference.name())?,
            Some(_) => publish(index, &blobs, &*self.reference.open()?, self.reference.name())?,
        };
        Ok(published.digest)
    }
}

/// The name under which an image is handed to podman or docker: the workspace's, and the environment's unless it is
/// `default`, as far as a reference can have their letters.
///
/// # Errors
///
/// The workspace cannot be read.
pub fn image_name(request: &BuildRequest) -> Result<String, Error> {
    let workspace = Workspace::open(&request.workspace)?;
    let configuration = configuration(request, &workspace)?;
    let letters = |text: &str| -> String {
        let mapped =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
        mapped.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
    };
    let name = match letters(&workspace.name) {
        name if name.is_empty() => "workspace".to_string(),
        name => name,
    };
    let tag = workspace.version.as_deref().map(letters_of_tag).filter(|tag| !tag.is_empty());
    let suffix = if configuration.environment == "default" {
        String::new()
    } else {
        format!("-{}", letters(&configuration.environment))
    };
    Ok(format!("localhost/{name}{suffix}:{}", tag.unwrap_or_else(|| "latest".into())))
}

/// The grammar of tags (OCI distribution-spec): letters, digits, `_`, `.`, `-`, not beginning with the last two.
fn letters_of_tag(version: &str) -> String {
    let mapped: String = version
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' })
        .take(128)
        .collect();
    mapped.trim_start_matches(['.', '-']).to_string()
}
