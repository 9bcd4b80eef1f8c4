//! What a run has: made once by the command line, and handed to every stage.

pub mod heard;

use pixi_oci_platform::cannot;
use std::{
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pixi_oci_cachedir::Root;
use pixi_oci_fetch::ArchiveCache;
use pixi_oci_layer::Compression;
use pixi_oci_net::{Client, ClientSettings};
use pixi_oci_registry::{Events, RegistryAccess, Repository};
use pixi_oci_store::base::BaseOptions;
use tokio::runtime::Runtime;

use self::heard::Heard;
use crate::{Error, event::Event};

/// How often a wait checks for cancellation.
const POLL: Duration = Duration::from_millis(100);

/// Takes events; called from several threads.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// The network, the caches, the machine's resources, events and cancellation of one run.
#[derive(Clone)]
pub struct Session {
    /// Reaches the hosts that packages come from; made when there is something to fetch.
    client: Arc<(ClientSettings, OnceLock<Client>)>,
    /// How registries are reached, and the credentials there.
    pub registries: RegistryAccess,
    pub caches: Caches,
    /// Use only the caches and local files.
    pub offline: bool,
    pub resources: Resources,
    /// Set from outside to end the run: every stage then fails with [`Error::Interrupted`].
    pub cancelled: Arc<AtomicBool>,
    /// What servers said of archives that are not here.
    pub heard: Heard,
    /// The same for the parts of the run that this session is for, the outermost first.
    stopped: Vec<Arc<AtomicBool>>,
    on_event: OnEvent,
    runtime: Arc<OnceLock<Runtime>>,
}

/// Where results are kept for later runs, and how many bytes of them.
#[derive(Debug, Clone)]
pub struct Caches {
    pub dir: Root,
    /// Limit for finished layers; with 0 none are kept and none are taken.
    pub layers: u64,
    /// Limit for downloaded archives.
    pub archives: u64,
}

impl Caches {
    /// A directory for files of published images that are read; it is made.
    pub fn previous(&self) -> Result<PathBuf, Error> {
        let path = self.dir.join("previous");
        fs_err::create_dir_all(&path).map_err(cannot("create", &path))?;
        Ok(path)
    }
}

/// How much of the machine a run may use.
#[derive(Debug, Clone)]
pub struct Resources {
    pub downloads: NonZeroUsize,
    /// Environments and platforms that are solved at a time.
    pub solves: NonZeroUsize,
    /// Layers that are written at a time.
    pub threads: usize,
    /// Bytes of unpacked files that may wait in memory.
    pub memory: usize,
    pub containers: Containers,
}

/// What containers need of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Containers {
    /// Where images are unpacked: a local disk, because they are large and overlays do not work on all file systems.
    pub scratch: PathBuf,
    /// Where programs are found, as in `PATH`.
    pub path: OsString,
}

impl Session {
    /// A session that reports to nobody yet.
    pub fn new(
        client: ClientSettings,
        registries: RegistryAccess,
        caches: Caches,
        resources: Resources,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client: Arc::new((client, OnceLock::new())),
            registries,
            caches,
            offline: false,
            resources,
            cancelled,
            heard: Heard::default(),
            stopped: Vec::new(),
            on_event: Arc::new(|_| ()),
            runtime: Arc::default(),
        }
    }

    /// The same session with another listener.
    #[must_use]
    pub fn with_events(&self, on_event: OnEvent) -> Self {
        Self { on_event, ..self.clone() }
    }

    /// The same session without a listener, online or not.
    #[must_use]
    pub fn quiet(&self, offline: bool) -> Self {
        Self { offline, ..self.with_events(Arc::new(|_| ())) }
    }

    /// The same session for a part of the run, which ends with it or when it is [stopped](Self::stop).
    #[must_use]
    pub fn part(&self) -> Self {
        let mut part = self.clone();
        part.stopped.push(Arc::default());
        part
    }

    /// Ends the part of the run that this session was made for: whatever works with it fails with [`Error::Interrupted`].
    pub fn stop(&self) {
        self.stopped.iter().rev().take(1).for_each(|stopped| stopped.store(true, Ordering::Relaxed));
    }

    pub fn emit(&self, event: Event) {
        (self.on_event)(event);
    }

    /// Reports something that the user should know, though the run goes on.
    pub fn warn(&self, text: impl Into<String>) {
        self.emit(Event::Warning(text.into()));
    }

    pub fn check(&self) -> Result<(), Error> {
        let ends = [&self.cancelled].into_iter().chain(&self.stopped).any(|end| end.load(Ordering::Relaxed));
        if ends { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// For clients of registries, whose events are reported as ours.
    pub fn registry_events(&self) -> Events {
        let on_event = self.on_event.clone();
        Arc::new(move |event| on_event(Event::Registry(event)))
    }

    /// For base images; what happens at registries goes to `events`.
    pub fn base_options<'a>(&'a self, compression: Compression, events: &'a Events) -> BaseOptions<'a> {
        BaseOptions {
            cache: &self.caches.dir,
            offline: self.offline,
            compression,
            registries: &self.registries,
            skopeo: Path::new("skopeo"),
            events,
        }
    }

    /// For the client of a repository that is published to.
    pub fn upload_events(&self, repository: &Repository) -> Events {
        let (on_event, repository) = (self.on_event.clone(), Arc::<str>::from(repository.to_string()));
        Arc::new(move |event| on_event(Event::Upload { repository: repository.clone(), event }))
    }

    /// Reaches the hosts that packages come from. Logins and certificates are read at the first call: that takes longer
    /// than a build in which nothing is fetched.
    pub fn client(&self) -> Result<&Client, Error> {
        let (settings, client) = &*self.client;
        if let Some(client) = client.get() {
            return Ok(client);
        }
        let made = Client::new(settings)?;
        Ok(client.get_or_init(|| made))
    }

    pub fn archives(&self) -> Result<ArchiveCache, Error> {
        Ok(ArchiveCache::open(&self.caches.dir)?)
    }

    /// Says what was found damaged in the caches since the last call.
    pub fn report_damage(&self) {
        let damaged = self.caches.dir.take_damaged();
        let Some(first) = damaged.first() else { return };
        let others = match damaged.len() {
            1 => String::new(),
            more => format!(" and {} other files", more - 1),
        };
        self.warn(format!(
            "{}{others} of the cache were damaged; what they held is made or fetched again",
            first.display()
        ));
    }

    /// Runs a future to its end; drops it when the run is cancelled.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        self.runtime()?.block_on(async {
            tokio::pin!(future);
            let mut poll = tokio::time::interval(POLL);
            loop {
                tokio::select! {
                    biased;
                    result = &mut future => break Ok(result),
                    _ = poll.tick() => self.check()?,
                }
            }
        })
    }

    fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let made = made.map_err(cannot("start threads for", "the network"))?;
        Ok(self.runtime.get_or_init(|| made))
    }
}
