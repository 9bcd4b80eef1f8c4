//! Brings one archive into the cache, from the network or from a file.

use std::{io::Read, path::PathBuf, time::Duration};

use reqwest::{Response, StatusCode, header};
use tokio::sync::mpsc;
use url::Url;

use crate::{
    ArchiveCache, ArchiveLocation, CachedArchive, Client, Error, FetchEvent, FetchItem, FetchOptions, cache::Incoming,
    redact,
};

/// An archive whose length the lock file does not give (a wheel) may not fill the disk.
const MAX_ARCHIVE: u64 = 16 << 30;

/// Pieces of a download that may wait for the disk.
const QUEUE: usize = 16;

/// Why a try failed.
enum Failure {
    /// It may go better the next time, but not before the server's `Retry-After`.
    Passing { error: Box<Error>, retry_after: Option<Duration> },
    /// It will not go better.
    Final(Box<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(Box::new(error))
    }
}

/// Fetches an archive that is not in the cache.
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
        ArchiveLocation::Url(url) if matches!(url.scheme(), "http" | "https") => url,
        _ => return Err(Error::UnsupportedScheme { package: item.name.clone(), url: item.shown_location() }),
    };
    let progress = |bytes| (options.on_event)(FetchEvent::Progress { item: index, bytes });
    let mut failures = 0;
    loop {
        match attempt(cache, item, url, client, &progress).await {
            Ok(archive) => return Ok(archive),
            Err(Failure::Final(error)) => return Err(*error),
            Err(Failure::Passing { error, .. }) if failures + 1 >= options.retry.attempts => return Err(*error),
            Err(Failure::Passing { retry_after, .. }) => {
                tokio::time::sleep(options.retry.wait(failures, retry_after)).await;
                failures += 1;
            }
        }
    }
}

/// Runs something that blocks on a thread made for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the runtime is being shut down, and then nobody waits for this future.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Copies a local archive. It is never used in place: what the sha256 was checked of must be what is read later.
async fn copy(cache: &ArchiveCache, item: &FetchItem, path: PathBuf) -> Result<CachedArchive, Error> {
    let (cache, item) = (cache.clone(), item.clone());
    blocking(move || {
        let error = |action| move |source| (action, source);
        let copy = || {
            // Looked at before it is opened: opening a pipe would wait for its writer.
            let metadata = std::fs::metadata(&path).map_err(error("read"))?;
            if !metadata.is_file() {
                return Err(("read", std::io::Error::other("it is not a regular file")));
            }
            let mut file = std::fs::File::open(&path).map_err(error("read"))?;
            let mut incoming = cache.incoming().map_err(error("make a file in the cache for"))?;
            let mut buffer = vec![0; 1 << 16];
            // One byte more than there may be is enough to see that there are too many.
            while incoming.size() <= item.size.unwrap_or(MAX_ARCHIVE) {
                match file.read(&mut buffer).map_err(error("read"))? {
                    0 => break,
                    read => incoming.write(&buffer[..read]).map_err(error("write the copy of"))?,
                }
            }
            Ok((metadata.len(), incoming))
        };
        let (length, incoming) = copy().map_err(|(action, source)| item.io_error(action, &path, source))?;
        item.check_size(length)?;
        cache.accept(incoming, &item)
    })
    .await
}

async fn attempt(
    cache: &ArchiveCache,
    item: &FetchItem,
    url: &Url,
    client: &Client,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<CachedArchive, Failure> {
    let response = client.http.get(url.clone()).send().await.map_err(|error| match error {
        reqwest_middleware::Error::Reqwest(error) => network_failure(item, url, error),
        reqwest_middleware::Error::Middleware(error) => network_error(item, url, error.to_string()).into(),
    })?;
    check_status(item, url, &response)?;
    if let (Some(expected), Some(announced)) = (item.size, response.content_length())
        && expected != announced
    {
        return Err(item.size_mismatch(announced.to_string(), expected).into());
    }
    let incoming = receive(cache, item, url, response, progress).await?;
    if let Some(expected) = item.size.filter(|expected| incoming.size() < *expected) {
        // The connection ended early, but in a way that looked like the end.
        let error = item.size_mismatch(incoming.size().to_string(), expected);
        return Err(Failure::Passing { error: Box::new(error), retry_after: None });
    }
    let (cache, item) = (cache.clone(), item.clone());
    Ok(blocking(move || cache.accept(incoming, &item)).await?)
}

/// Writes the body to a temporary file; hashing and writing happen on a thread of their own.
async fn receive(
    cache: &ArchiveCache,
    item: &FetchItem,
    url: &Url,
    mut response: Response,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Incoming, Failure> {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let reader = async move {
        let limit = item.size.unwrap_or(MAX_ARCHIVE);
        let mut received: u64 = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| network_failure(item, url, error))? {
            received += piece.len() as u64;
            if received > limit {
                return Err(Failure::from(item.size_mismatch(format!("more than {limit}"), limit)));
            }
            if sender.send(piece).await.is_err() {
                break; // the writer failed, and will say why
            }
            progress(received);
        }
        Ok(())
    };
    let own_cache = cache.clone();
    let writer = async move {
        let written = blocking(move || {
            let mut incoming = own_cache.incoming()?;
            while let Some(piece) = receiver.blocking_recv() {
                incoming.write(&piece)?;
            }
            Ok::<_, std::io::Error>(incoming)
        });
        let directory = cache.directory();
        written.await.map_err(|source| Failure::from(item.io_error("write the download into", directory, source)))
    };
    let (received, written) = futures_util::future::join(reader, writer).await;
    received?;
    written
}

fn check_status(item: &FetchItem, url: &Url, response: &Response) -> Result<(), Failure> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let host = url.host_str().unwrap_or_default();
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("; log in with `pixi auth login {host}`"),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            "; the channel does not have the package any more: update the lock file with `pixi update`".to_owned()
        }
        _ => String::new(),
    };
    let error =
        Error::Status { package: item.name.clone(), url: redact(url.as_str()), status: status.to_string(), hint };
    let passing =
        status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if !passing {
        return Err(error.into());
    }
    // Only the form in seconds: the other is a date, and what time it is nobody told us.
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    Err(Failure::Passing { error: Box::new(error), retry_after })
}

fn network_failure(item: &FetchItem, url: &Url, error: reqwest::Error) -> Failure {
    let passing = !error.is_builder() && !error.is_redirect();
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let error = network_error(item, url, message);
    if passing { Failure::Passing { error: Box::new(error), retry_after: None } } else { error.into() }
}

fn network_error(item: &FetchItem, url: &Url, message: String) -> Error {
    Error::Network { package: item.name.clone(), url: redact(url.as_str()), message }
}
