//! Fetches package archives into the cache: each once, several at a time, and nothing that is not what the lock file says.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    ArchiveCache, CachedArchive, Error,
    blocking::blocking,
    download,
    item::{ArchiveIdentity, FetchEvent, FetchItem, FetchOptions},
};
use pixi_oci_net::Client;

impl ArchiveCache {
    /// Fetches archives that are not in the cache, and verifies all of them; the result is in the order of `items`.
    /// Must run in a tokio runtime. Dropping the future stops everything and leaves the cache whole.
    ///
    /// # Errors
    /// The first failure ends it; what was fetched stays in the cache. Offline, one error names all that is missing.
    pub async fn fetch(
        &self,
        items: &[FetchItem],
        options: &FetchOptions<'_>,
        client: &Client,
    ) -> Result<Vec<CachedArchive>, Error> {
        let mut first_of: HashMap<ArchiveIdentity<'_>, usize> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            first_of.entry(item.identity()).or_insert(index);
        }
        let unique = || (0..items.len()).filter(|index| first_of[&items[*index].identity()] == *index);
        let at_a_time = options.concurrency.get();
        if options.offline {
            let remote = unique().map(|index| items[index].clone()).filter(|item| item.location.local_path().is_none());
            self.check_offline(remote.collect(), at_a_time).await?;
        }
        let found: Vec<(usize, CachedArchive)> = stream::iter(unique())
            .map(|index| async move {
                let item = &items[index];
                let size = item.size;
                (options.on_event)(FetchEvent::Started { item: index, name: item.name.clone(), bytes_total: size });
                let known = self.look_up(item).await?;
                let cached = known.is_some();
                let archive = match known {
                    Some(archive) => archive,
                    None => download::download(self, index, item, options, client).await?,
                };
                (options.on_event)(FetchEvent::Finished { item: index, name: item.name.clone(), cached });
                Ok::<_, Error>((index, archive))
            })
            .buffer_unordered(at_a_time)
            .try_collect()
            .await?;
        let found: HashMap<usize, CachedArchive> = found.into_iter().collect();
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
