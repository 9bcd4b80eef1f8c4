//! Parts of an archive that stays where it is, by range requests (RFC 9110 §14).
//!
//! Nothing vouches for these bytes: they serve guesses of what a build will do, and never get into the cache.

use std::{ops::Range, os::unix::fs::FileExt, path::Path, time::Duration};

use reqwest::{Response, StatusCode, header};
use tempfile::NamedTempFile;
use url::Url;

use crate::{FetchItem, download::MAX_ARCHIVE};
use pixi_oci_lock::ArchiveLocation;
use pixi_oci_net::{Client, RetryPolicy, retry_after};

/// The end of a zip that is asked for first: of most packages its directory and metadata are in it.
const END: u64 = 64 << 10;
/// The most bytes of one archive, in so many further requests.
const MAX_BYTES: u64 = 32 << 20;
const MAX_REQUESTS: usize = 4;
/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPart {
    /// Nothing answers at the address: other archives there need not be asked for.
    Unreachable,
    /// The server does not send parts, or other ones than were asked for, or it is too much. What is wrong with it is found out
    /// when all of it is fetched.
    Refused,
}

/// What is here of an archive, at its place in a temporary file with holes.
pub struct PartialArchive {
    file: NamedTempFile,
    /// As the server says; the lock file's length, where it has one.
    pub len: u64,
    pub host: String,
    here: Vec<Range<u64>>,
    url: Url,
    requests: usize,
    bytes: u64,
}

impl PartialArchive {
    /// Asks for the end of an archive. `directory` is for the file.
    pub async fn end_of(
        item: &FetchItem,
        client: &Client,
        directory: &Path,
        retry: RetryPolicy,
    ) -> Result<Self, NoPart> {
        let url = match &item.location {
            ArchiveLocation::Url(url) if matches!(url.scheme(), "http" | "https") => url,
            _ => return Err(NoPart::Refused),
        };
        let (response, range, len) = ask(client, url, &format!("bytes=-{END}"), retry).await?;
        let is_end = range.end == len && range.start == len.saturating_sub(END);
        if !is_end || len > MAX_ARCHIVE || item.size.is_some_and(|expected| expected != len) {
            return Err(NoPart::Refused);
        }
        let file = NamedTempFile::new_in(directory).map_err(|_| NoPart::Refused)?;
        file.as_file().set_len(len).map_err(|_| NoPart::Refused)?;
        let host = response.url().host_str().unwrap_or_default().to_owned();
        let host = response.url().port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let mut part = Self { file, len, host, here: Vec::new(), url: url.clone(), requests: 0, bytes: 0 };
        part.receive(response, range).await.ok_or(NoPart::Refused)?;
        Ok(part)
    }

    pub async fn add(&mut self, missing: Vec<Range<u64>>, client: &Client, retry: RetryPolicy) -> Result<(), NoPart> {
        for wanted in missing {
            self.requests += 1;
            self.bytes = self.bytes.saturating_add(wanted.end.saturating_sub(wanted.start));
            if self.requests > MAX_REQUESTS || self.bytes > MAX_BYTES || wanted.end > self.len || wanted.is_empty() {
                return Err(NoPart::Refused);
            }
            let header = format!("bytes={}-{}", wanted.start, wanted.end - 1);
            let (response, range, len) = ask(client, &self.url, &header, retry).await?;
            if range != wanted || len != self.len {
                return Err(NoPart::Refused);
            }
            self.receive(response, range).await.ok_or(NoPart::Refused)?;
        }
        Ok(())
    }

    pub fn parts(&self) -> (&Path, &[Range<u64>]) {
        (self.file.path(), &self.here)
    }

    /// Takes exactly the bytes that were announced.
    async fn receive(&mut self, mut response: Response, range: Range<u64>) -> Option<()> {
        let mut at = range.start;
        let receive = async {
            while let Some(bytes) = response.chunk().await.ok()? {
                if bytes.len() as u64 > range.end - at {
                    return None;
                }
                self.file.as_file().write_all_at(&bytes, at).ok()?;
                at += bytes.len() as u64;
            }
            (at == range.end).then_some(())
        };
        tokio::time::timeout(PATIENCE, receive).await.ok()??;
        self.here.push(range);
        self.here.sort_by_key(|range| range.start);
        // What lies side by side is one.
        self.here.dedup_by(|next, before| {
            let touches = next.start <= before.end;
            before.end = if touches { before.end.max(next.end) } else { before.end };
            touches
        });
        Some(())
    }
}

/// Asks for a range, and gives the answer, the range that it is and the length of the whole.
async fn ask(
    client: &Client,
    url: &Url,
    range: &str,
    retry: RetryPolicy,
) -> Result<(Response, Range<u64>, u64), NoPart> {
    let mut failures = 0;
    loop {
        let request = client.http().get(url.clone());
        let request = request.header(header::ACCEPT_ENCODING, "identity").header(header::RANGE, range);
        let answer = tokio::time::timeout(PATIENCE, request.send()).await.map_err(|_| NoPart::Unreachable)?;
        let wait = match answer {
            Ok(response) if response.status() == StatusCode::PARTIAL_CONTENT => {
                let (range, len) = content_range(&response).ok_or(NoPart::Refused)?;
                return Ok((response, range, len));
            }
            Ok(response)
                if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS =>
            {
                retry_after(response.headers())
            }
            Ok(_) | Err(reqwest_middleware::Error::Middleware(_)) => return Err(NoPart::Refused),
            Err(reqwest_middleware::Error::Reqwest(error)) if error.is_connect() || error.is_timeout() => {
                return Err(NoPart::Unreachable);
            }
            Err(reqwest_middleware::Error::Reqwest(_)) => None,
        };
        failures += 1;
        if failures >= retry.attempts {
            return Err(NoPart::Refused);
        }
        tokio::time::sleep(retry.wait(failures - 1, wait)).await;
    }
}

/// What `Content-Range` says, of bytes that are not encoded.
fn content_range(response: &Response) -> Option<(Range<u64>, u64)> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if header(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return None;
    }
    let (range, len) = header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, len): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, len.trim().parse().ok()?);
    (first <= last && last < len).then_some((first..last + 1, len))
}
