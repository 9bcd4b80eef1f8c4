//! Gets the archives of all targets at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use pixi_oci_fetch::{CachedArchive, FetchEvent, FetchItem, FetchOptions};
use pixi_oci_lock::LockedPackage;
use pixi_oci_net::RetryPolicy;

use crate::Error;
use pixi_oci_project::{Event, Session};

/// The archives of packages, each with what it is for; packages that would have to be built have none.
pub fn fetch_archives<'p, For>(
    packages: impl IntoIterator<Item = (For, &'p LockedPackage)>,
    session: &Session,
) -> Result<Vec<(For, CachedArchive)>, Error> {
    let item = |(what_for, package)| Some((what_for, FetchItem::for_package(package)?));
    let (all, items): (Vec<For>, Vec<FetchItem>) = packages.into_iter().filter_map(item).unzip();
    let unique: HashMap<_, u64> = items.iter().map(|item| (item.identity(), item.size.unwrap_or(0))).collect();
    session.emit(Event::FetchStarted { archives: unique.len(), bytes: unique.values().sum() });
    let counter = Counter::default();
    let forward = |event: FetchEvent| match event {
        FetchEvent::Started { .. } => {}
        FetchEvent::Progress { item, bytes } => counter.add(item, bytes, session),
        FetchEvent::Finished { item, name, cached } => {
            counter.add(item, items[item].size.unwrap_or(0), session);
            session.emit(Event::FetchFinished { package: name, cached });
        }
    };
    let cache = session.archives()?;
    let options = FetchOptions {
        offline: session.offline,
        concurrency: session.resources.downloads,
        retry: RetryPolicy::default(),
        on_event: &forward,
    };
    let archives = session.run(cache.fetch(&items, &options, &session.client))??;
    Ok(all.into_iter().zip(archives).collect())
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
