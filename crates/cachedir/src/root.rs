//! The directory that all caches are in, and what a run knows of it.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use pixi_oci_platform::open_lock;

/// The directory of all caches. Clones share what was found damaged.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    check_all: bool,
    /// What was hashed by this process, with `check_all`.
    checked: Mutex<BTreeSet<PathBuf>>,
    damaged: Mutex<Vec<PathBuf>>,
    /// Whether this process put something into a cache.
    grew: AtomicBool,
}

/// While it exists, nothing is trimmed from a part of the cache.
#[derive(Debug)]
pub struct Held {
    /// Nothing where there are no locks: there nothing is trimmed, either.
    _lock: Option<File>,
}

impl Root {
    /// A directory, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), state: Arc::default() }
    }

    /// The same directory; with `check_all` every blob is hashed once, whatever was noted of it.
    #[must_use]
    pub fn check_all(self, check_all: bool) -> Self {
        Self { state: Arc::new(State { check_all, ..State::default() }), ..self }
    }

    /// Notes that a file was damaged and is no longer used.
    pub fn damaged(&self, path: &Path) {
        lock(&self.state.damaged).push(path.to_owned());
    }

    /// The files that were found damaged since the last call.
    pub fn take_damaged(&self) -> Vec<PathBuf> {
        std::mem::take(&mut lock(&self.state.damaged))
    }

    /// Whether something was put into a cache: else there is nothing to trim, which takes a look at every file.
    pub fn grew(&self) -> bool {
        self.state.grew.load(Ordering::Relaxed)
    }

    pub(crate) fn grows(&self) {
        self.state.grew.store(true, Ordering::Relaxed);
    }

    /// Whether what was noted of a blob does not count. Once for each, because it is hashed then.
    pub(crate) fn must_check(&self, path: &Path) -> bool {
        self.state.check_all && lock(&self.state.checked).insert(path.to_owned())
    }

    /// Keeps all of a part of the cache where it is, in all processes.
    pub fn hold(&self, part: &Path) -> Held {
        let held = std::fs::create_dir_all(part).and_then(|()| lock_file(part));
        Held { _lock: held.and_then(|file| file.lock_shared().map(|()| file)).ok() }
    }

    /// Runs `remove` if nobody holds the part; otherwise who comes next does it.
    pub fn when_free(&self, part: &Path, remove: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        let lock = match lock_file(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            lock => lock?,
        };
        match lock.try_lock() {
            Ok(()) => remove().map(|()| true),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => Ok(false),
        }
    }
}

impl Deref for Root {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Root {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

fn lock_file(part: &Path) -> io::Result<File> {
    open_lock(&part.join("lock"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
