//! The registry's ports and the handle that tests hold.

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use super::{
    connection,
    fault::Rule,
    log::Entry,
    profile::Profile,
    world::{TagValue, World},
};

/// When something is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// It has arrived and is not done.
    Before,
    /// It is done and not answered.
    After,
}

/// What a test does at a request.
pub(super) type Call = Box<dyn FnOnce(&Entry) + Send>;

pub(super) struct Shared {
    world: Mutex<World>,
    /// Calls by number of the request.
    pub calls: Mutex<Vec<(usize, Point, Call)>>,
    /// What is open, to be closed at the end.
    pub streams: Mutex<Vec<Weak<TcpStream>>>,
    pub connections: AtomicUsize,
    /// Requests that are not answered yet, and the most that ever were at once, of uploads.
    pub uploading: AtomicUsize,
    pub uploading_at_most: AtomicUsize,
    refusing: AtomicBool,
    /// Held while the port is given up or taken again.
    door: Mutex<()>,
    ended: AtomicBool,
    /// Has the registry's own port.
    accepting: Mutex<Option<JoinHandle<()>>>,
    at: SocketAddr,
}

impl Shared {
    /// A test that failed does not make others fail.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes no more connections.
    pub fn refuse(&self) {
        let _door = self.door.lock().unwrap();
        self.refusing.store(true, Ordering::SeqCst);
        // The accepting thread wakes up, lets go of the port and ends.
        let _ = TcpStream::connect(self.at);
        if let Some(thread) = self.accepting.lock().unwrap().take() {
            thread.join().unwrap();
        }
    }

    fn accept(self: &Arc<Self>, listener: TcpListener, elsewhere: bool) {
        let shared = self.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) || (!elsewhere && shared.refusing.load(Ordering::SeqCst)) {
                    break;
                }
                // The client may be gone again.
                let Ok(stream) = stream else { continue };
                let shared = shared.clone();
                std::thread::spawn(move || connection::serve(&shared, stream, elsewhere));
            }
        });
        if !elsewhere {
            *self.accepting.lock().unwrap() = Some(thread);
        }
    }
}

/// A registry on two loopback ports, the second for what some keep elsewhere. It ends when it is dropped.
pub struct Registry {
    shared: Arc<Shared>,
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// Of the other port.
    pub elsewhere: String,
}

impl Registry {
    pub fn start(profile: Profile) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, elsewhere] = [0, 1].map(|n| listeners[n].local_addr().unwrap().to_string());
        let at = listeners[0].local_addr().unwrap();
        let [main, other] = listeners;
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(profile, address.clone(), elsewhere.clone())),
            calls: Mutex::default(),
            streams: Mutex::default(),
            connections: AtomicUsize::new(0),
            uploading: AtomicUsize::new(0),
            uploading_at_most: AtomicUsize::new(0),
            refusing: AtomicBool::new(false),
            door: Mutex::default(),
            ended: AtomicBool::new(false),
            accepting: Mutex::default(),
            at,
        });
        shared.accept(main, false);
        shared.accept(other, true);
        Self { shared, address, elsewhere }
    }

    /// `docker://127.0.0.1:PORT/REPOSITORY`.
    pub fn reference(&self, repository: &str) -> String {
        format!("docker://{}/{repository}", self.address)
    }

    /// Makes an empty repository, for registries that want it made before.
    pub fn create(&self, repository: &str) {
        self.shared.world().repositories.entry(repository.to_owned()).or_default();
    }

    /// Puts a blob into a repository.
    pub fn put_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        self.shared.world().store_blob(repository, digest, bytes.to_vec());
    }

    /// Puts the manifests of an image into a repository, and tags on its index.
    pub fn put_image(&self, repository: &str, image: &crate::sample::Image, tags: &[&str]) {
        let mut world = self.shared.world();
        let known = world.repositories.entry(repository.to_owned()).or_default();
        for (digest, bytes) in &image.manifests {
            let media_type = if digest == image.digest() { crate::sample::INDEX } else { crate::sample::MANIFEST };
            known.manifests.insert(digest.clone(), (media_type.to_owned(), bytes.clone()));
        }
        for tag in tags {
            world.set_tag(repository, tag, image.digest(), 0);
        }
    }

    /// Adds rules after those that are there.
    pub fn rules(&self, rules: impl IntoIterator<Item = Rule>) {
        self.shared.world().rules.extend(rules);
    }

    /// No more faults.
    pub fn heal(&self) {
        self.shared.world().rules.clear();
        if self.shared.refusing.load(Ordering::SeqCst) {
            self.listen_again();
        }
    }

    /// Seeds what is random in rules; not 0.
    pub fn seed(&self, seed: u64) {
        self.shared.world().random = seed.max(1);
    }

    /// After [`super::Fault::Refuse`]: connections are taken again. Nothing happens otherwise.
    pub fn listen_again(&self) {
        let _door = self.shared.door.lock().unwrap();
        if self.shared.refusing.load(Ordering::SeqCst) {
            let listener = TcpListener::bind(self.shared.at).expect("nobody else took the port");
            self.shared.refusing.store(false, Ordering::SeqCst);
            self.shared.accept(listener, false);
        }
    }

    /// Calls `call` when request `number` is at `point`, on the thread that serves it. A request at [`Point::Before`]
    /// is not done afterwards: its client is gone.
    pub fn at(&self, number: usize, point: Point, call: impl FnOnce(&Entry) + Send + 'static) {
        self.shared.calls.lock().unwrap().push((number, point, Box::new(call)));
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.world().log.clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.world().log.clear();
    }

    /// Tokens that were given are good for nothing from now on.
    pub fn expire_tokens(&self) {
        self.shared.world().tokens.clear();
    }

    /// Most uploads that ever were under way at once.
    pub fn most_uploads(&self) -> usize {
        self.shared.uploading_at_most.load(Ordering::SeqCst)
    }

    /// What a tag names.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.shared.world().repositories.get(repository)?.tags.get(tag).cloned()
    }

    /// Every value that a tag ever got.
    pub fn history(&self) -> Vec<TagValue> {
        self.shared.world().history.clone()
    }

    /// What is missing below the tags, now.
    pub fn broken_tags(&self) -> Vec<String> {
        self.shared.world().broken_tags()
    }

    /// Digests of the blobs and of the manifests in a repository.
    pub fn content(&self, repository: &str) -> (Vec<String>, Vec<String>) {
        let world = self.shared.world();
        let known = world.repositories.get(repository);
        let blobs = known.iter().flat_map(|known| known.blobs.iter().cloned()).collect();
        (blobs, known.iter().flat_map(|known| known.manifests.keys().cloned()).collect())
    }

    /// Removes a blob or a manifest, as a cleaner would.
    pub fn lose(&self, repository: &str, digest: &str) {
        if let Some(known) = self.shared.world().repositories.get_mut(repository) {
            known.blobs.remove(digest);
            known.manifests.remove(digest);
        }
    }

    /// Puts a tag on a manifest that is there, as another publisher would.
    pub fn set_tag(&self, repository: &str, tag: &str, digest: &str) {
        self.shared.world().set_tag(repository, tag, digest, 0);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for address in [&self.address, &self.elsewhere] {
            // The accepting thread wakes up and ends.
            let _ = TcpStream::connect(address);
        }
        for stream in self.shared.streams.lock().unwrap().drain(..).filter_map(|stream| stream.upgrade()) {
            // The client may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
