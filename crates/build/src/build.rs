//! The pipeline: a locked workspace in, images and an index at a destination out.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pixi_oci_fetch::ArchiveCache;
use pixi_oci_image::{Image, Index, LayerEntry};
use pixi_oci_layer::Digest;
use pixi_oci_lock::LockedPackage;
use pixi_oci_net::Client;
use pixi_oci_publish::{Destination, registry::RepositoryRef};
use pixi_oci_workspace::Workspace;

use crate::{
    BuildReport, BuildRequest, Error, Event, ImageReport, OnEvent,
    cache::{FactsCache, LayerCache},
    configuration::configuration,
    fetch::fetch_archives,
    image::ImageBuilder,
    lock::lock_file,
    locked::checked,
    output::Output,
    packages::{Contents, with_archives},
    remote::{Published, RemoteMeans, RemoteRepository},
    reuse::{Knowledge, OnLayer, Remote, known},
    source_environments::{self, Environments},
    sources::{SourcesInput, decide},
    target::targets,
};

/// Builds what `request` says, and gives the report of it. Nothing is visible at the destination before all is done.
///
/// # Errors
///
/// See [`Error`]. A failed build leaves the destination as it was.
pub fn build(request: &BuildRequest, client: &Client, on_event: OnEvent<'_>) -> Result<BuildReport, Error> {
    let remote = cache_from(request, on_event)?;
    let remote = remote.as_ref().map(|remote| remote as &dyn Remote);
    stage(request, client, remote, &|_, _| (), on_event)?.publish()
}

/// The published images whose layers are to be taken, if any are named.
pub fn cache_from<'a>(request: &'a BuildRequest, on_event: OnEvent<'a>) -> Result<Option<Published<'a>>, Error> {
    if request.cache_from.is_empty() {
        return Ok(None);
    }
    let credentials = request.registries.credentials.for_reading();
    let from = request.cache_from.iter().map(|from| RemoteRepository {
        repository: from.repository.clone(),
        reference: Some(reference(from)),
        credentials: credentials.clone(),
    });
    let means = RemoteMeans {
        options: &request.registries.options,
        scratch: request.cache_dir.join("previous"),
        may_link: false,
        interrupted: &request.interrupted,
        on_event,
    };
    Ok(Some(Published::new(from.collect(), Vec::new(), means)?))
}

/// The tag or digest that a reference names.
pub fn reference(from: &RepositoryRef) -> String {
    let digest = from.digest.map(|digest| digest.to_string());
    digest.or_else(|| from.tag.clone()).unwrap_or_else(|| "latest".into())
}

/// Images that are built, and not visible anywhere yet.
pub struct Staged {
    /// The images.
    pub index: Index,
    output: Output,
    report: BuildReport,
    trim: Option<LayerCache>,
    facts: [FactsCache; 2],
    /// The archives, and how much of them is kept.
    archives: (ArchiveCache, u64),
}

impl Staged {
    /// Whether all layers are on this machine; some may only be in repositories.
    pub fn is_whole(&self) -> Result<bool, Error> {
        let mut layers = self.index.images.iter().flat_map(|image| &image.layers);
        let missing = |layer: &LayerEntry| self.output.staging().has_blob(&layer.descriptor).map(|has| !has);
        Ok(!layers.try_fold(false, |any, layer| Ok::<_, pixi_oci_publish::Error>(any || missing(layer)?))?)
    }

    /// Where the layers are that are on this machine.
    pub fn blobs(&self) -> BTreeMap<Digest, PathBuf> {
        let layers = self.index.images.iter().flat_map(|image| &image.layers).map(|layer| layer.descriptor.digest);
        let places = layers.map(|digest| (digest, self.output.staging().blob_path(&digest)));
        places.filter(|(_, path)| path.exists()).collect()
    }

    /// What was built. The digest is that of the index.
    pub fn report(&self) -> &BuildReport {
        &self.report
    }

    /// Makes the images visible at the destination.
    pub fn publish(self) -> Result<BuildReport, Error> {
        let digest = self.output.publish(&self.index)?;
        self.trim();
        Ok(BuildReport { digest, ..self.report })
    }

    /// Keeps the caches to their sizes.
    pub fn trim(&self) {
        let (archives, limit) = &self.archives;
        archives.trim(*limit);
        self.facts.iter().for_each(FactsCache::trim);
        if let Some(cache) = &self.trim {
            cache.trim();
        }
    }
}

/// Builds what `request` says, but for making it visible. Layers may be taken from `remote`, and then need not be on this
/// machine. Package layers are given to `on_layer` as soon as they are.
pub fn stage(
    request: &BuildRequest,
    client: &Client,
    remote: Option<&dyn Remote>,
    on_layer: OnLayer<'_>,
    on_event: OnEvent<'_>,
) -> Result<Staged, Error> {
    let workspace = Workspace::open(&request.workspace)?;
    let configuration = configuration(request, &workspace)?;
    let lock = lock_file(&workspace, request, client, on_event)?;
    let lock_file_digest = digest_of(lock.path())?;
    let targets =
        checked(request, &workspace, &lock, &configuration, || targets(request, &workspace, &lock, &configuration))?;
    let default = || format!("oci:{}", workspace.root.join("dist/oci").display());
    let output = Output::open(&request.output.clone().unwrap_or_else(default))?;
    output.check(targets.len())?;
    let mut sources = decide(&SourcesInput {
        request,
        workspace: &workspace,
        configuration: &configuration,
        targets: &targets,
        scratch: output.scratch(),
    })?;
    sources.warnings.iter().for_each(|text| on_event(Event::Warning(text.clone())));
    let facts = FactsCache::open(&request.cache_dir);
    let archive_cache = ArchiveCache::open(&request.cache_dir)?;
    // They are read until the last layer is made.
    let _held = archive_cache.hold();
    let known = known(&targets, &Knowledge::new(request, &facts), remote, &configuration.workdir)?;
    let unknown: Vec<&LockedPackage> = targets
        .iter()
        .zip(&known)
        .flat_map(|(target, known)| with_archives(&target.packages).zip(known))
        .filter_map(|(package, known)| known.is_none().then_some(package))
        .collect();
    let archives = fetch_archives(request, client, &unknown, on_event)?;
    let layer_cache = (request.layer_cache > 0).then(|| LayerCache::open(&request.cache_dir, request.layer_cache));

    let destination = std::path::absolute(output.reference().path()).map_err(|source| Error::Io {
        action: "find",
        path: output.reference().path().into(),
        source,
    })?;
    let builder = ImageBuilder {
        request,
        workspace: &workspace,
        configuration: &configuration,
        output: &destination,
        layout: output.staging(),
        scratch: output.scratch(),
        client,
        layer_cache: layer_cache.as_ref(),
        remote,
        on_layer,
        on_event,
    };
    Environments { builder: &builder, targets: &targets }.build(&mut sources)?;
    let mut archives = archives.into_iter();
    let contents: Vec<Contents<'_>> = targets
        .iter()
        .zip(known)
        .zip(&sources.wheels)
        .map(|((target, known), sources)| Contents::new(target, known, &mut archives, sources, &configuration.workdir))
        .collect();

    let mut images: Vec<Image> = Vec::new();
    let mut reports: Vec<ImageReport> = Vec::new();
    for (target, contents) in targets.iter().zip(&contents) {
        let (image, report) = builder.image(target, contents)?;
        images.push(image);
        reports.push(report);
    }
    let index = Index::new(images, &builder.annotations()?)?;
    let facts = [facts, FactsCache::open_published(&request.cache_dir)];
    let report = BuildReport {
        reference: output.reference().to_string(),
        digest: index.descriptor.digest,
        environment: configuration.environment,
        lock_file_digest,
        images: reports,
        sources: source_environments::reports(&sources, &targets),
        executed: sources.executed,
    };
    Ok(Staged { index, output, report, trim: layer_cache, facts, archives: (archive_cache, request.archive_cache) })
}

fn digest_of(path: &Path) -> Result<Digest, Error> {
    let bytes = fs_err::read(path).map_err(|source| Error::Io { action: "read", path: path.into(), source })?;
    Ok(Digest::of(&bytes))
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
