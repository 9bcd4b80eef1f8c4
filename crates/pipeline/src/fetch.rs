//! Gets archives: all that are named at once, or while other work is done.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use pixi_oci_fetch::{ArchiveIdentity, CachedArchive, FetchEvent, FetchItem, FetchOptions};
use pixi_oci_lock::LockedPackage;
use pixi_oci_net::RetryPolicy;

use crate::{Error, together::Together};
use pixi_oci_project::{Event, Session};

/// How often a wait looks whether the run was cancelled.
const POLL: Duration = Duration::from_millis(100);

/// The archives of packages, each with what it is for; packages that would have to be built have none.
pub fn fetch_archives<'p, For>(
    packages: impl IntoIterator<Item = (For, &'p LockedPackage)>,
    session: &Session,
) -> Result<Vec<(For, CachedArchive)>, Error> {
    let item = |(what_for, package)| Some((what_for, FetchItem::for_package(package)?));
    let (all, items): (Vec<For>, Vec<FetchItem>) = packages.into_iter().filter_map(item).unzip();
    let archives = fetch(&items, session, &|_, _| ())?;
    Ok(all.into_iter().zip(archives).collect())
}

/// Fetches archives; `on_archive` gets each as soon as it is here.
fn fetch(
    items: &[FetchItem],
    session: &Session,
    on_archive: &(dyn Fn(ArchiveIdentity, CachedArchive) + Sync),
) -> Result<Vec<CachedArchive>, Error> {
    let unique: HashMap<_, u64> = items.iter().map(|item| (item.identity(), item.size.unwrap_or(0))).collect();
    session.emit(Event::FetchStarted { archives: unique.len(), bytes: unique.values().sum() });
    let counter = Counter::default();
    let forward = |event: FetchEvent| match event {
        FetchEvent::Started { .. } => {}
        FetchEvent::Progress { item, bytes } => counter.add(item, bytes, session),
        FetchEvent::Finished { item, name, archive, cached } => {
            counter.add(item, items[item].size.unwrap_or(0), session);
            session.emit(Event::FetchFinished { package: name, cached });
            on_archive(items[item].identity(), archive);
        }
    };
    let cache = session.archives()?;
    let options = FetchOptions {
        offline: session.offline,
        concurrency: session.resources.downloads,
        retry: RetryPolicy::default(),
        on_event: &forward,
    };
    Ok(session.run(cache.fetch(items, &options, session.client()?))??)
}

/// Archives on their way while other work is done: each is fetched once, however often it is wanted. Dropping it ends what is left.
pub struct Downloads {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    together: Arc<Together>,
    state: Mutex<Arrivals>,
    changed: Condvar,
}

#[derive(Default)]
struct Arrivals {
    wanted: HashSet<ArchiveIdentity>,
    here: HashMap<ArchiveIdentity, CachedArchive>,
}

impl Downloads {
    /// None yet. A failure is one of `together`.
    pub fn new(together: &Arc<Together>) -> Self {
        let shared = Shared { together: together.clone(), state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// Begins to fetch those that were not wanted before.
    pub fn want(&self, mut items: Vec<FetchItem>) {
        items.retain(|item| self.shared.state().wanted.insert(item.identity()));
        if items.is_empty() {
            return;
        }
        let shared = self.shared.clone();
        let thread = std::thread::spawn(move || {
            let arrived = |identity, archive| {
                shared.state().here.insert(identity, archive);
                shared.changed.notify_all();
            };
            if let Err(error) = fetch(&items, &shared.together.session, &arrived) {
                shared.together.fail(error);
                shared.changed.notify_all();
            }
        });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Waits until at least one of the archives is here, and gives those that are by their places in `items`. An error may
    /// be that of another archive: [`Together::failure`] says it.
    pub fn next<'i>(
        &self,
        items: impl IntoIterator<Item = &'i FetchItem>,
    ) -> Result<Vec<(usize, CachedArchive)>, Error> {
        let items: Vec<(&FetchItem, ArchiveIdentity)> = items.into_iter().map(|item| (item, item.identity())).collect();
        let mut state = self.shared.state();
        loop {
            self.shared.together.session.check()?;
            let all = items.iter().enumerate();
            let here: Vec<_> = all.filter_map(|(at, (_, id))| Some((at, state.here.get(id)?.clone()))).collect();
            if !here.is_empty() {
                here.iter().try_for_each(|(at, archive)| items[*at].0.check_size(archive.size))?;
                return Ok(here);
            }
            let woken = self.shared.changed.wait_timeout(state, POLL);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        self.shared.together.session.stop();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Arrivals> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
/// Turns positions of downloads, which fall back when one begins again, into steps forward.
#[derive(Default)]
struct Counter(Mutex<BTreeMap<usize, u64>>);

impl Counter {
    fn add(&self, item: usize, position: u64, session: &Session) {
        let Ok(mut positions) = self.0.lock() else { return };
        let known = positions.entry(item).or_default();
        if position > *known {
            let bytes = position - *known;
            *known = position;
            drop(positions);
            session.emit(Event::FetchProgress { bytes });
        }
    }
}
