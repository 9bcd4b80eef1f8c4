//! Fetches package archives into the cache: each once, several at a time, and nothing that is not what the lock file says.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use tokio::sync::Semaphore;

use crate::{
    ArchiveCache, CachedArchive, Error,
    blocking::blocking,
    download,
    item::{ArchiveIdentity, FetchEvent, FetchItem, FetchOptions},
};
use pixi_oci_net::Client;

/// So many downloads take the biggest archive that is left: more would share the line, and all be done late.
const BIG: usize = 1;
/// The others take the smallest ones, and so many KiB of them at once; or one that is longer.
const SMALL: usize = 4 << 10;

impl ArchiveCache {
    /// Fetches archives that are not in the cache, and verifies all of them; the result is in the order of `items`.
    /// Must run in a tokio runtime. Dropping the future stops everything and leaves the cache whole.
    ///
    /// They are taken from both ends of their sizes: there is something to do with what has arrived from the start,
    /// and neither the biggest nor most of the small ones come last.
    /// The first failure ends it; what was fetched stays in the cache. Offline, one error names all that is missing.
    pub async fn fetch(
        &self,
        items: &[FetchItem],
        options: &FetchOptions<'_>,
        client: &Client,
    ) -> Result<Vec<CachedArchive>, Error> {
        let mut first_of: HashMap<ArchiveIdentity, usize> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            first_of.entry(item.identity()).or_insert(index);
        }
        let mut queue: Vec<usize> =
            (0..items.len()).filter(|index| first_of[&items[*index].identity()] == *index).collect();
        let at_a_time = options.concurrency.get();
        if options.offline {
            let remote = queue.iter().map(|index| items[*index].clone());
            self.check_offline(remote.filter(|item| item.location.local_path().is_none()).collect(), at_a_time).await?;
        }
        // What may have any size is big.
        queue.sort_by_key(|index| std::cmp::Reverse(items[*index].size.unwrap_or(u64::MAX)));
        let lanes = at_a_time.min(queue.len());
        let queue = Mutex::new(VecDeque::from(queue));
        let room = Semaphore::new(SMALL);
        let work = async |lane: usize| {
            let mut found = Vec::new();
            let next = || {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                if lane < BIG { queue.pop_front() } else { queue.pop_back() }
            };
            while let Some(index) = next() {
                let room = (lane >= BIG).then_some(&room);
                found.push((index, self.get(index, &items[index], room, options, client).await?));
            }
            Ok::<_, Error>(found)
        };
        let found = try_join_all((0..lanes).map(work)).await?;
        let found: HashMap<usize, CachedArchive> = found.into_iter().flatten().collect();
        items
            .iter()
            .map(|item| {
                let archive = found[&first_of[&item.identity()]].clone();
                // The same archive may be listed twice, with two lengths.
                item.check_size(archive.size)?;
                Ok(archive)
            })
            .collect()
    }

    /// One archive, once there is `room` for it.
    async fn get(
        &self,
        index: usize,
        item: &FetchItem,
        room: Option<&Semaphore>,
        options: &FetchOptions<'_>,
        client: &Client,
    ) -> Result<CachedArchive, Error> {
        let name = || item.name.clone();
        (options.on_event)(FetchEvent::Started { item: index, name: name(), bytes_total: item.size });
        let known = self.look_up(item).await?;
        let cached = known.is_some();
        let archive = match known {
            Some(archive) => archive,
            None => {
                let kib = item.size.unwrap_or(u64::MAX).div_ceil(1 << 10).min(SMALL as u64) as u32;
                let _room = match room {
                    // It is never closed.
                    Some(room) => room.acquire_many(kib).await.ok(),
                    None => None,
                };
                download::download(self, index, item, options, client).await?
            }
        };
        (options.on_event)(FetchEvent::Finished { item: index, name: name(), archive: archive.clone(), cached });
        Ok(archive)
    }

    /// [`Self::lookup`] hashes: not on the threads that drive the network.
    async fn look_up(&self, item: &FetchItem) -> Result<Option<CachedArchive>, Error> {
        let (cache, item) = (self.clone(), item.clone());
        blocking(move || cache.lookup(&item)).await
    }

    async fn check_offline(&self, remote: Vec<FetchItem>, at_a_time: usize) -> Result<(), Error> {
        let missing: Vec<Option<String>> = stream::iter(remote)
            .map(|item| async move {
                let missing = self.look_up(&item).await?.is_none();
                Ok::<_, Error>(missing.then(|| format!("{} ({})", item.name, item.shown_location())))
            })
            .buffered(at_a_time)
            .try_collect()
            .await?;
        let missing: Vec<String> = missing.into_iter().flatten().collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::Offline { missing }) }
    }
}

#[cfg(test)]
mod tests;
