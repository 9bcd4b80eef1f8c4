//! Published images as sources of layers.
//!
//! For a build the layers that can be taken are fetched into its layout. For a publication nothing is fetched: a layer is
//! taken if every repository that is published to has it already, or its registry links it there from another of its
//! repositories.
//!
//! A registry that cannot be used costs time and no more: there is a warning, and the layers are made.

mod fetch;
mod link;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    path::Path,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt, TryStreamExt, stream};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::{
    Access, Arrival, CredentialSources, Error as RegistryError, ErrorKind, Registry, Repository, named,
};
use pixi_oci_store::OciLayout;

use crate::{Error, stock::Remote, stock::previous::Previous, stock::previous::newest, stock::previous::read_kept};
use pixi_oci_project::{Event, Session};

/// So many layers are asked for or fetched at once, from all registries together; no registry minds three.
const PARALLEL: usize = 3;

/// A repository, and what is needed to use it.
#[derive(Debug, Clone)]
pub struct RemoteRepository {
    pub repository: Repository,
    /// The tag or digest of the image whose layers are looked at, or tags of which the newest image counts; none where layers
    /// only have to be.
    pub references: Vec<String>,
    pub credentials: CredentialSources,
}

/// Which published images are looked at.
pub struct RemoteOptions {
    /// Where layers are taken from.
    pub from: Vec<RemoteRepository>,
    /// The repositories that layers have to be in; none where they are fetched.
    pub to: Vec<RemoteRepository>,
    /// Whether registries may be asked to mount layers from their other repositories. It is the only thing that is written.
    pub may_mount: bool,
}

pub struct Published {
    session: Session,
    options: RemoteOptions,
    previous: OnceLock<Previous>,
    /// The connections to `from` that could be made, once they are needed.
    sources: OnceLock<Vec<Registry>>,
    /// The connections to `to`, once they are needed.
    targets: tokio::sync::OnceCell<Vec<Registry>>,
    /// A repository did not answer: none is asked again.
    useless: AtomicBool,
    seen: Mutex<AtTargets>,
}

/// What was seen at the repositories that are published to.
#[derive(Debug, Default)]
struct AtTargets {
    /// Which layers are in which repository: they were there, or were linked in this run, or would be.
    arrived: BTreeMap<(Repository, Digest), Arrival>,
    /// From where a repository got no link: it is not tried again.
    refused: BTreeSet<(Repository, Repository)>,
}

impl Published {
    /// Layers of published images. Asks no registry yet.
    pub fn new(options: RemoteOptions, session: Session) -> Self {
        Self {
            session,
            options,
            previous: OnceLock::new(),
            sources: OnceLock::new(),
            targets: tokio::sync::OnceCell::new(),
            useless: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    async fn connect(&self, remote: &RemoteRepository, access: Access) -> Result<Registry, RegistryError> {
        let credentials = remote.credentials.find(&remote.repository).await?;
        let options = &self.session.registries.options;
        Registry::connect(&remote.repository, access, options, credentials, self.session.registry_events())
    }

    async fn read(&self, scratch: &Path) -> Previous {
        let mut all = Previous::default();
        let mut sources = Vec::new();
        for remote in &self.options.from {
            if remote.references.is_empty() {
                continue;
            }
            let read: Result<_, RegistryError> = async {
                let registry = self.connect(remote, Access::Pull).await?;
                let reference = newest(&registry, &remote.references).await?;
                let previous = read_kept(&registry, reference, scratch).await?;
                if !previous.layers.is_empty() {
                    let image = named(&remote.repository, reference);
                    self.session.emit(Event::LayersFrom { image });
                }
                sources.push(registry);
                Ok(previous)
            }
            .await;
            match read {
                Ok(previous) => all.extend(previous),
                // A repository that nothing was published to yet.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.warn(&remote.repository, &error),
            }
        }
        let _ = self.sources.set(sources);
        all
    }

    fn sources(&self) -> &[Registry] {
        self.sources.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn give_up(&self, repository: &Repository, error: &RegistryError) {
        // Several layers are asked for at once; one warning is enough.
        if !self.useless.swap(true, Ordering::Relaxed) {
            self.warn(repository, error);
        }
    }

    fn warn(&self, repository: &Repository, error: &RegistryError) {
        self.session.warn(format!("no layers are taken from {repository}: {error}"));
    }

    /// Whether a layer is where the image will be, or could be fetched from where it is.
    async fn has_one(&self, blob: &Descriptor) -> bool {
        if self.useless.load(Ordering::Relaxed) {
            return false;
        }
        let found = if self.options.to.is_empty() {
            self.is_at_a_source(blob).await
        } else {
            self.is_at_all_targets(blob).await
        };
        found.unwrap_or_else(|(repository, error)| {
            self.give_up(&repository, &error);
            false
        })
    }

    async fn is_at_a_source(&self, blob: &Descriptor) -> Result<bool, (Repository, RegistryError)> {
        for source in self.sources() {
            if source.has_blob(blob).await.map_err(|error| (source.repository().clone(), error))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn provide_one(&self, blob: &Descriptor, layout: &OciLayout) -> Result<bool, Error> {
        if self.useless.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if self.options.to.is_empty() {
            return self.fetch(blob, layout).await;
        }
        Ok(self.is_at_all_targets(blob).await.unwrap_or_else(|(repository, error)| {
            self.give_up(&repository, &error);
            false
        }))
    }
}

impl Remote for Published {
    fn previous(&self) -> Result<&Previous, Error> {
        if let Some(previous) = self.previous.get() {
            return Ok(previous);
        }
        let read = self.session.run(self.read(&self.session.caches.previous()?))?;
        Ok(self.previous.get_or_init(|| read))
    }

    fn has(&self, blobs: &[&Descriptor]) -> Result<BTreeSet<Digest>, Error> {
        let there = async |blob: &Descriptor| self.has_one(blob).await.then_some(blob.digest);
        let all = stream::iter(blobs.iter().copied().map(there)).buffered(PARALLEL);
        Ok(self.session.run(all.filter_map(ready).collect())?)
    }

    fn provide(&self, blobs: &[&Descriptor], layout: &OciLayout) -> Result<BTreeSet<Digest>, Error> {
        let there = async |blob: &Descriptor| Ok(self.provide_one(blob, layout).await?.then_some(blob.digest));
        let all = stream::iter(blobs.iter().copied().map(there)).buffered(PARALLEL);
        self.session.run(all.try_filter_map(|digest| ready(Ok(digest))).try_collect())?
    }
}
