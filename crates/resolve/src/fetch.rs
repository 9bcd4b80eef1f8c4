//! Fetches package archives into the cache: each once, several at a time, and nothing that is not what the lock file says.

use std::{collections::HashMap, num::NonZeroUsize};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    ArchiveCache, ArchiveLocation, CachedArchive, Client, Error, LockedPackage, RetryPolicy, Sha256, download, redact,
};

/// An archive to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchItem {
    /// The package's name, for messages.
    pub name: String,
    /// Where it is.
    pub location: ArchiveLocation,
    /// What it must be. Without it (only wheels that are named by URL or path can lack it) the hash is found out, and
    /// what was once fetched from a URL is what later fetches give.
    pub sha256: Option<Sha256>,
    /// Its md5, 32 lower-case hex digits, if the lock file says so.
    pub md5: Option<String>,
    /// How long it must be, if the lock file says so.
    pub size: Option<u64>,
}

/// What tells two archives apart before they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveIdentity<'a> {
    /// The lock file has the hash: wherever it comes from.
    Content(Sha256),
    /// It has none.
    Location(&'a ArchiveLocation),
}

/// How to fetch.
#[derive(Clone, Copy)]
pub struct FetchOptions<'a> {
    /// Use no network; files on this machine are still copied.
    pub offline: bool,
    /// So many at a time.
    pub concurrency: NonZeroUsize,
    /// How to deal with failures that may pass.
    pub retry: RetryPolicy,
    /// Is told what happens, from any thread. It should return quickly.
    pub on_event: &'a (dyn Fn(FetchEvent) + Send + Sync),
}

/// What happens while archives are fetched. `item` is an index into the list that is being fetched; an archive that is
/// listed several times only has events at its first place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEvent {
    /// The archive is looked for, in the cache first.
    Started {
        /// Index of the item.
        item: usize,
        /// The package.
        name: String,
        /// Its length, if it is known.
        bytes_total: Option<u64>,
    },
    /// So many bytes have arrived; the number falls back when a download begins again.
    Progress {
        /// Index of the item.
        item: usize,
        /// Bytes since the download began.
        bytes: u64,
    },
    /// The archive is in the cache, verified.
    Finished {
        /// Index of the item.
        item: usize,
        /// The package.
        name: String,
        /// Whether it was there before.
        cached: bool,
    },
}

impl FetchItem {
    /// What to fetch for a package; `None` for packages that would have to be built from source.
    pub fn for_package(package: &LockedPackage) -> Option<Self> {
        let location = match package {
            LockedPackage::Conda(record) => ArchiveLocation::Url(record.url.clone()),
            LockedPackage::Wheel(wheel) => wheel.location.clone(),
            LockedPackage::CondaSource { .. } | LockedPackage::PypiSource { .. } => return None,
        };
        let md5 = match package {
            LockedPackage::Conda(record) => record.package_record.md5.as_ref().map(|md5| crate::cache::hex(md5)),
            LockedPackage::Wheel(wheel) => wheel.md5.clone(),
            _ => None,
        };
        Some(Self { name: package.name(), location, sha256: package.sha256(), md5, size: package.size() })
    }

    /// Items of one identity are one archive.
    pub fn identity(&self) -> ArchiveIdentity<'_> {
        match self.sha256 {
            Some(sha256) => ArchiveIdentity::Content(sha256),
            None => ArchiveIdentity::Location(&self.location),
        }
    }

    /// The location as it may be shown.
    pub(crate) fn shown_location(&self) -> String {
        match &self.location {
            ArchiveLocation::Url(url) => redact(url.as_str()),
            ArchiveLocation::Path(path) => path.display().to_string(),
        }
    }
}

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
        download::blocking(move || cache.lookup(&item)).await
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
