//! Brings one archive into the cache, from the network or from a file.
//!
//! What came of a download that was cut is kept for the next try, which asks for the rest. Whatever way the bytes came,
//! the cache takes them only if hash and length are those of the lock file.

use std::{io::Read, path::PathBuf};

use pixi_oci_platform::{Links, open};

use crate::{ArchiveCache, CachedArchive, Error, FetchEvent, FetchItem, FetchOptions, blocking::blocking};
use pixi_oci_lock::ArchiveLocation;
use pixi_oci_net::Client;

mod attempt;
mod failure;
mod receive;
mod task;

pub(crate) use self::task::MAX_ARCHIVE;
use self::{
    failure::Failure,
    task::{Download, Transfer},
};

/// A try that got so many bytes further than any before does not count as a failure: a long download over a bad line is
/// cut more often than a server is asked in vain.
const PROGRESS: u64 = 1 << 20;

pub(crate) async fn download(
    cache: &ArchiveCache,
    index: usize,
    item: &FetchItem,
    options: &FetchOptions<'_>,
    client: &Client,
) -> Result<CachedArchive, Error> {
    if let Some(path) = item.location.local_path() {
        return copy(cache, item, path).await;
    }
    let url = match &item.location {
        ArchiveLocation::Url(url) if matches!(url.scheme(), "http" | "https" | "oci" | "s3") => url,
        _ => {
            let url = item.shown_location();
            let what =
                format!("cannot fetch from {url}: only https, http, oci, s3 and file URLs and paths are supported");
            return Err(Error::Download { package: item.name.clone(), what });
        }
    };
    let progress = |bytes| (options.on_event)(FetchEvent::Progress { item: index, bytes });
    let download = Download { cache, item, url, client, progress: &progress };
    let mut transfer = Transfer::default();
    let mut failures = 0;
    loop {
        let farthest = transfer.farthest;
        match download.attempt(&mut transfer).await {
            Ok(archive) => return Ok(archive),
            Err(Failure::Final(error)) => return Err(*error),
            Err(Failure::Passing { error, retry_after }) => {
                transfer.farthest = transfer.farthest.max(transfer.position());
                if transfer.farthest - farthest < PROGRESS {
                    failures += 1;
                }
                if failures >= options.retry.attempts {
                    return Err(*error);
                }
                tokio::time::sleep(options.retry.wait(failures.saturating_sub(1), retry_after)).await;
            }
        }
    }
}

/// Copies a local archive. It is never used in place: what the sha256 was checked of must be what is read later.
async fn copy(cache: &ArchiveCache, item: &FetchItem, path: PathBuf) -> Result<CachedArchive, Error> {
    let (cache, item) = (cache.clone(), item.clone());
    blocking(move || {
        let error = |action| move |source| (action, source);
        let copy = || {
            let mut file = open(&path, Links::Follow).map_err(error("read"))?;
            let length = file.metadata().map_err(error("read"))?.len();
            let mut incoming = cache.incoming(&item).map_err(error("make a file in the cache for"))?;
            let mut buffer = vec![0; 1 << 16];
            // One byte more than there may be is enough to see that there are too many.
            while incoming.size <= item.size.unwrap_or(MAX_ARCHIVE) {
                match file.read(&mut buffer).map_err(error("read"))? {
                    0 => break,
                    read => incoming.write(&buffer[..read]).map_err(error("write the copy of"))?,
                }
            }
            Ok((length, incoming))
        };
        let (length, incoming) = copy().map_err(|(action, source)| item.io_error(action, &path, source))?;
        item.check_size(length)?;
        cache.accept(incoming, &item)
    })
    .await
}
