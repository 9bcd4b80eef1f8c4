//! Builds a project: its plan is completed, layers are made or taken, and images and an index are put at a destination.

pub mod installation;
pub mod output;
pub mod source_environments;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use pixi_oci_cachedir::Held;
use pixi_oci_fetch::FetchItem;
use pixi_oci_image::{Image, Index, LayerEntry};
use pixi_oci_layer::Digest;
use pixi_oci_store::base::hold_bases;
use pixi_oci_store::{Destination, RunCache};

use self::{output::Output, source_environments::build_sources};
use crate::Error;
use pixi_oci_pipeline::{
    Base, BuildReport, Downloads, ImageReport, OnLayer, Package, Published, Remote, RemoteOptions, RemoteRepository,
    Stock, Together, Workshop, fetch_unknown, locked, recognise, with_wheels,
};
use pixi_oci_project::{Event, OUTPUTS, Project, Session, Target};
use pixi_oci_sources::{Decided, decide};

/// Builds a project into `output`, `oci:dist/oci` in the workspace if `None`, and gives the report of it. Nothing is visible
/// at the destination before all is done.
///
/// # Errors
///
/// See [`Error`]. A failed build leaves the destination as it was.
pub fn build(project: &Project, output: Option<&str>, session: &Session) -> Result<BuildReport, Error> {
    let remote = cache_from(project, session)?;
    let remote = remote.as_ref().map(|remote| remote as &dyn Remote);
    stage(project, output, remote, &|_| (), session)?.publish()
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
        references: vec![from.reference()],
        credentials: credentials.clone(),
    });
    let options = RemoteOptions { from: from.collect(), to: Vec::new(), may_mount: false };
    Ok(Some(Published::new(options, session.clone())))
}

/// Images that are built, and not visible anywhere yet.
pub struct Staged<'a> {
    pub index: Index,
    /// The digest is that of the index.
    pub report: BuildReport,
    output: Output,
    stock: Stock<'a>,
    session: Session,
    /// The layers of base images are read until they are published.
    _bases: Held,
}

impl Staged<'_> {
    /// Whether all layers are on this machine; some may only be in repositories.
    pub fn is_whole(&self) -> Result<bool, Error> {
        let mut layers = self.index.images.iter().flat_map(|image| &image.layers);
        let missing = |layer: &LayerEntry| self.output.staging.has_blob(&layer.descriptor).map(|has| !has);
        Ok(!layers.try_fold(false, |any, layer| Ok::<_, pixi_oci_store::Error>(any || missing(layer)?))?)
    }

    /// Where the layers are that are on this machine.
    pub fn blobs(&self) -> BTreeMap<Digest, PathBuf> {
        let layers = self.index.images.iter().flat_map(|image| &image.layers).map(|layer| layer.descriptor.digest);
        let places = layers.map(|digest| (digest, self.output.staging.blob_path(&digest)));
        places.filter(|(_, path)| path.exists()).collect()
    }

    /// Makes the images visible at the destination.
    pub fn publish(self) -> Result<BuildReport, Error> {
        self.output.publish(&self.index, sif_runs(&self.session))?;
        self.trim()?;
        Ok(self.report)
    }

    /// Keeps the caches to their sizes, if something was put into them.
    pub fn trim(&self) -> Result<(), Error> {
        if self.session.caches.dir.grew() {
            let archives = self.session.archives()?;
            std::thread::scope(|scope| {
                scope.spawn(|| archives.trim(self.session.caches.archives));
                self.stock.trim();
            });
        }
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
/// Layers are handed to `on_layer` as soon as they are there.
pub fn stage<'a>(
    project: &Project,
    output: Option<&str>,
    remote: Option<&'a dyn Remote>,
    on_layer: OnLayer<'_>,
    session: &Session,
) -> Result<Staged<'a>, Error> {
    let default = || format!("oci:{}", project.workspace.root.join(OUTPUTS[0]).display());
    let output = Output::open(&output.map_or_else(default, str::to_owned))?;
    output.check(project.targets.len())?;
    let mut sources = decide(project, output.scratch())?;
    sources.warnings.iter().for_each(|text| session.warn(text.as_str()));
    let together = Arc::new(Together::new(session));
    let stock = Stock::new(&together.session, remote, !project.inputs.cache_from.is_empty());
    // Archives are read until the last layer is made.
    let archives = session.archives()?;
    let _held = archives.hold();
    let held_bases = hold_bases(&session.caches.dir);
    let destination = output.absolute()?;
    let workshop = Workshop {
        project,
        session: &together.session,
        stock: &stock,
        output: &destination,
        layout: &output.staging,
        scratch: output.scratch(),
        on_layer,
    };
    // A secret among the files is said before packages are downloaded. The chosen files are the same for all targets.
    project.targets.first().map_or(Ok(()), |target| workshop.check_application(target))?;
    let made = std::thread::scope(|scope| {
        let (sender, bases) = mpsc::channel();
        scope.spawn(|| get_bases(&workshop, &together, sender));
        images(&workshop, &mut sources, &together, bases).inspect_err(|_| together.session.stop())
    });
    let (images, reports) = made.map_err(|error| together.failure().map_or(error, Error::from))?;
    let index = Index::new(images, &workshop.annotations()?)?;
    let report = BuildReport {
        reference: output.reference.to_string(),
        digest: index.descriptor.digest,
        environment: project.configuration.environment.clone(),
        lock_file_digest: project.lock_file_digest,
        images: reports,
        sources: source_environments::reports(&sources, &project.targets),
        executed: sources.executed,
    };
    Ok(Staged { index, output, report, stock, session: session.clone(), _bases: held_bases })
}

enum OfBase {
    /// Something of one is not on this machine, and comes now.
    Comes,
    /// The next target's one.
    Here(Box<Base>),
}

/// Gets the base image of each target into the layout.
fn get_bases(workshop: &Workshop<'_>, together: &Together, sender: Sender<OfBase>) {
    let comes = sender.clone();
    let session = workshop.session.clone();
    let session = workshop.session.with_events(Arc::new(move |event| {
        if matches!(event, Event::Registry(pixi_oci_registry::Event::Received { .. })) {
            let _ = comes.send(OfBase::Comes);
        }
        session.emit(event);
    }));
    for target in &workshop.project.targets {
        let base = Base::of_target(workshop.project, target, &session);
        let base = base.and_then(|base| workshop.put_base(&base).map(|()| base));
        match base {
            // Nobody waits for it after a failure.
            Ok(base) => drop(sender.send(OfBase::Here(base.into()))),
            Err(error) => return together.fail(error),
        }
    }
}

/// Makes the images of all targets, while archives are fetched for what comes later.
fn images(
    workshop: &Workshop<'_>,
    sources: &mut Decided,
    together: &Arc<Together>,
    bases: Receiver<OfBase>,
) -> Result<(Vec<Image>, Vec<ImageReport>), Error> {
    let Workshop { project, session, stock, .. } = *workshop;
    let workdir = &project.configuration.workdir;
    let mut packages: Vec<(&Target, Vec<Package<'_>>)> = Vec::new();
    for target in &project.targets {
        let mut locked = locked(&target.packages, workdir);
        recognise(target, &mut locked, stock)?;
        packages.push((target, locked));
    }
    // Base images that are here and cannot be used, or do not know the user, are said before packages are downloaded. Those that have
    // to be downloaded come together with them, and are looked at before a layer is made.
    let next = || bases.recv().map_err(|_| Error::Interrupted);
    let mut here = VecDeque::new();
    while here.len() < project.targets.len()
        && let OfBase::Here(base) = next()?
    {
        here.push_back(base);
    }
    let downloads = Downloads::new(together);
    if sources.pending.is_empty() {
        let unknown = packages.iter().flat_map(|(_, packages)| packages).filter(|package| package.is_unknown());
        downloads.want(unknown.filter_map(|package| FetchItem::for_package(package.locked?)).collect());
    } else {
        fetch_unknown(packages.iter_mut().flat_map(|(_, packages)| packages), session)?;
        build_sources(sources, workshop)?;
    }
    let mut made = (Vec::new(), Vec::new());
    for (target, packages) in packages {
        while here.is_empty() {
            if let OfBase::Here(base) = next()? {
                here.push_back(base);
            }
        }
        let Some(base) = here.pop_front() else { continue };
        let packages = with_wheels(packages, sources.wheels(target), workdir);
        let (image, report) = workshop.image(target, packages, &base, &downloads)?;
        made.0.push(image);
        made.1.push(report);
    }
    Ok(made)
}
