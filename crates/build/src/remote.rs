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
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt, TryStreamExt, stream};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_publish::{
    OciLayout,
    registry::{Access, CredentialSources, Error as RegistryError, Events, Registry, RegistryOptions, Repository},
};

use crate::{
    Error, Event, OnEvent,
    network::Network,
    previous::{Previous, read_previous},
    reuse::Remote,
};

/// So many layers are asked for or fetched at once, from all registries together; no registry minds three.
const PARALLEL: usize = 3;

/// A repository, and what is needed to use it.
#[derive(Debug, Clone)]
pub struct RemoteRepository {
    /// The repository.
    pub repository: Repository,
    /// The tag or digest of the image whose layers are looked at; none where layers only have to be.
    pub reference: Option<String>,
    /// Where credentials are looked for.
    pub credentials: CredentialSources,
}

/// With what published images are reached.
pub struct RemoteMeans<'a> {
    /// How registries are reached.
    pub options: &'a RegistryOptions,
    /// A directory for temporary files.
    pub scratch: PathBuf,
    /// Whether registries may be asked to link layers between their repositories. It is the only thing that is written.
    pub may_link: bool,
    /// Set by somebody else when the build is to end.
    pub interrupted: &'a AtomicBool,
    /// Is told what goes wrong.
    pub on_event: OnEvent<'a>,
}

/// Published images.
pub struct Published<'a> {
    network: Mutex<Network<'a>>,
    events: Events,
    means: RemoteMeans<'a>,
    from: Vec<RemoteRepository>,
    to: Vec<RemoteRepository>,
    previous: OnceLock<Previous>,
    /// The connections to `from` that could be made, once they are needed.
    sources: OnceLock<Vec<Registry>>,
    /// The connections to `to`, once they are needed.
    targets: tokio::sync::OnceCell<Vec<Registry>>,
    /// Somebody did not answer: nobody is asked again.
    useless: AtomicBool,
    links: Mutex<Links>,
}

/// What became of the attempts to link layers.
#[derive(Debug, Default)]
struct Links {
    /// Which layers are in which repository by a link of this run, or would be.
    made: BTreeSet<(Repository, Digest)>,
    /// From where a repository got none: it is not tried again.
    refused: BTreeSet<(Repository, Repository)>,
}

impl<'a> Published<'a> {
    /// Layers of the images `from`. With repositories in `to`, they have to be there; else they are fetched. Asks nobody
    /// yet.
    pub fn new(from: Vec<RemoteRepository>, to: Vec<RemoteRepository>, means: RemoteMeans<'a>) -> Result<Self, Error> {
        let network = Network::new(means.interrupted, means.on_event)?;
        Ok(Self {
            events: network.events(),
            network: Mutex::new(network),
            means,
            from,
            to,
            previous: OnceLock::new(),
            sources: OnceLock::new(),
            targets: tokio::sync::OnceCell::new(),
            useless: AtomicBool::new(false),
            links: Mutex::default(),
        })
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).run(future)
    }

    async fn connect(&self, remote: &RemoteRepository, access: Access) -> Result<Registry, RegistryError> {
        let credentials = remote.credentials.find(&remote.repository).await?;
        Registry::connect(&remote.repository, access, self.means.options, credentials, self.events.clone())
    }

    async fn read(&self) -> Previous {
        let mut all = Previous::default();
        let mut sources = Vec::new();
        for remote in &self.from {
            let Some(reference) = &remote.reference else { continue };
            let read = async {
                let registry = self.connect(remote, Access::Pull).await?;
                let previous = read_previous(&registry, reference, &self.means.scratch).await?;
                sources.push(registry);
                Ok(previous)
            };
            match read.await {
                Ok(previous) => {
                    all.layers.extend(previous.layers);
                    all.conda.extend(previous.conda);
                    all.wheels.extend(previous.wheels);
                }
                // A repository that nothing was published to yet.
                Err(RegistryError::NotFound { .. }) => {}
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
        (self.means.on_event)(Event::Warning(format!("no layers are taken from {repository}: {error}")));
    }

    /// Whether a layer is where the image will be, or could be fetched from where it is.
    async fn has_one(&self, blob: &Descriptor) -> bool {
        if self.useless.load(Ordering::Relaxed) {
            return false;
        }
        let found =
            if self.to.is_empty() { self.is_at_a_source(blob).await } else { self.is_at_all_targets(blob).await };
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
        if self.to.is_empty() {
            return self.fetch(blob, layout).await;
        }
        Ok(self.is_at_all_targets(blob).await.unwrap_or_else(|(repository, error)| {
            self.give_up(&repository, &error);
            false
        }))
    }
}

impl Remote for Published<'_> {
    fn previous(&self) -> Result<&Previous, Error> {
        if let Some(previous) = self.previous.get() {
            return Ok(previous);
        }
        let scratch = &self.means.scratch;
        fs_err::create_dir_all(scratch).map_err(|source| Error::Io {
            action: "create",
            path: scratch.clone(),
            source,
        })?;
        let read = self.run(self.read())?;
        Ok(self.previous.get_or_init(|| read))
    }

    fn has(&self, blobs: &[&Descriptor]) -> Result<Vec<bool>, Error> {
        let all = stream::iter(blobs.iter().copied().map(|blob| self.has_one(blob)));
        self.run(all.buffered(PARALLEL).collect())
    }

    fn provide(&self, blobs: &[&Descriptor], layout: &OciLayout) -> Result<Vec<bool>, Error> {
        let all = stream::iter(blobs.iter().copied().map(|blob| self.provide_one(blob, layout)));
        let all = all.buffered(PARALLEL).try_collect();
        self.run(all)?
    }
}
