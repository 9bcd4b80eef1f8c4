//! Builds a project: its plan is completed, layers are made or taken, and images and an index are put at a destination.

pub mod source_environments;

use std::{collections::BTreeMap, path::PathBuf};

use pixi_oci_cachedir::Held;
use pixi_oci_image::{Index, LayerEntry};
use pixi_oci_layer::Digest;
use pixi_oci_registry::RepositoryRef;
use pixi_oci_store::base::hold_bases;
use pixi_oci_store::{Destination, RunCache};

use self::source_environments::build_sources;
use crate::Error;
use pixi_oci_pipeline::{
    Base, BuildReport, ImagePlan, OnLayer, Output, Package, Published, Remote, RemoteOptions, RemoteRepository, Stock,
    Workshop, fetch_unknown, locked, recognise, with_wheels,
};
use pixi_oci_project::{Project, Session, Target};
use pixi_oci_sources::decide;

/// Builds a project into `output`, `oci:dist/oci` in the workspace if `None`, and gives the report of it. Nothing is visible
/// at the destination before all is done.
///
/// # Errors
///
/// See [`Error`]. A failed build leaves the destination as it was.
pub fn build(project: &Project, output: Option<&str>, session: &Session) -> Result<BuildReport, Error> {
    let remote = cache_from(project, session)?;
    let remote = remote.as_ref().map(|remote| remote as &dyn Remote);
    stage(project, output, remote, &|_, _| (), session)?.publish()
}

/// The published images whose layers are to be taken, if any are named.
pub fn cache_from(project: &Project, session: &Session) -> Result<Option<Published>, Error> {
    let from = &project.inputs.cache_from;
    if from.is_empty() {
        return Ok(None);
    }
    let credentials = session.registries.credentials.for_reading();
    let from = from.iter().map(|from| RemoteRepository {
        repository: from.repository.clone(),
        references: vec![reference(from)],
        credentials: credentials.clone(),
    });
    let options = RemoteOptions { from: from.collect(), to: Vec::new(), may_mount: false };
    Ok(Some(Published::new(options, session.clone())))
}

/// The tag or digest that a reference names.
pub fn reference(from: &RepositoryRef) -> String {
    let digest = from.digest.map(|digest| digest.to_string());
    digest.or_else(|| from.tag.clone()).unwrap_or_else(|| "latest".into())
}

/// Images that are built, and not visible anywhere yet.
pub struct Staged<'a> {
    pub index: Index,
    output: Output,
    report: BuildReport,
    stock: Stock<'a>,
    session: Session,
    /// The layers of base images are read until they are published.
    _bases: Held,
}

impl Staged<'_> {
    /// Whether all layers are on this machine; some may only be in repositories.
    pub fn is_whole(&self) -> Result<bool, Error> {
        let mut layers = self.index.images.iter().flat_map(|image| &image.layers);
        let missing = |layer: &LayerEntry| self.output.staging().has_blob(&layer.descriptor).map(|has| !has);
        Ok(!layers.try_fold(false, |any, layer| Ok::<_, pixi_oci_store::Error>(any || missing(layer)?))?)
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
        let digest = self.output.publish(&self.index, sif_runs(&self.session))?;
        self.trim()?;
        Ok(BuildReport { digest, ..self.report })
    }

    /// Keeps the caches to their sizes.
    pub fn trim(&self) -> Result<(), Error> {
        self.session.archives()?.trim(self.session.caches.archives);
        self.stock.trim();
        self.session.report_damage();
        Ok(())
    }
}

/// What was compressed for earlier SIFs; where layers are not kept, neither is that.
pub fn sif_runs(session: &Session) -> Option<RunCache> {
    let limit = session.caches.layers;
    (limit > 0).then(|| RunCache::open(&session.caches.dir, limit))
}

/// Builds a project, but for making it visible. Layers may be taken from `remote`, and then need not be on this machine.
/// Package layers are handed to `on_layer` as soon as they are there.
pub fn stage<'a>(
    project: &Project,
    output: Option<&str>,
    remote: Option<&'a dyn Remote>,
    on_layer: OnLayer<'_>,
    session: &Session,
) -> Result<Staged<'a>, Error> {
    let default = || format!("oci:{}", project.workspace.root.join("dist/oci").display());
    let output = Output::open(&output.map_or_else(default, str::to_owned))?;
    output.check(project.targets.len())?;
    let mut sources = decide(project, output.scratch())?;
    sources.warnings.iter().for_each(|text| session.warn(text.as_str()));
    let stock = Stock::new(session, remote, !project.inputs.cache_from.is_empty());
    // Archives are read until the last layer is made.
    let archives = session.archives()?;
    let _held = archives.hold();
    let held_bases = hold_bases(&session.caches.dir);

    let destination = output.absolute()?;
    let workshop = Workshop {
        project,
        session,
        stock: &stock,
        output: &destination,
        layout: output.staging(),
        scratch: output.scratch(),
        on_layer,
    };
    // A secret among the files, a base image that cannot be used or does not know the user: said before packages are downloaded.
    // The chosen files are the same for all targets.
    project.targets.first().map_or(Ok(()), |target| workshop.check_application(target))?;
    let open = |target| Base::of_target(project, target, session);
    let bases = project.targets.iter().map(open).collect::<Result<Vec<Base>, _>>()?;

    let workdir = &project.configuration.workdir;
    let mut packages: Vec<(&Target, Vec<Package<'_>>)> = Vec::new();
    for target in &project.targets {
        let mut locked = locked(&target.packages, workdir);
        recognise(target, &mut locked, &stock)?;
        packages.push((target, locked));
    }
    fetch_unknown(packages.iter_mut().flat_map(|(_, packages)| packages), session)?;

    build_sources(&mut sources, &workshop)?;
    let mut images = Vec::new();
    let mut reports = Vec::new();
    for ((target, packages), base) in packages.into_iter().zip(bases) {
        let packages = with_wheels(packages, sources.wheels(target), workdir);
        let mut plan = ImagePlan::new(project, target, packages, Some(&base), &stock)?;
        let (image, report) = workshop.image(&mut plan, &base)?;
        images.push(image);
        reports.push(report);
    }
    let index = Index::new(images, &workshop.annotations()?)?;
    let report = BuildReport {
        reference: output.reference().to_string(),
        digest: index.descriptor.digest,
        environment: project.configuration.environment.clone(),
        lock_file_digest: project.lock_file_digest,
        images: reports,
        sources: source_environments::reports(&sources, &project.targets),
        executed: sources.executed,
    };
    Ok(Staged { index, output, report, stock, session: session.clone(), _bases: held_bases })
}
