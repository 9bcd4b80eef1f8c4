//! One try of a download: asks, and judges the answer's head.

use reqwest::{
    Response, StatusCode,
    header::{self, HeaderValue},
};

use super::{
    failure::{Failure, shown},
    receive::receive,
    task::{Download, Transfer},
};
use crate::{CachedArchive, Error, blocking::blocking, cache::Incoming};

/// Says to an OCI registry which blob is meant, which saves a request for the manifest.
const EXPECTED_SHA256: &str = "x-expected-sha256";

impl Download<'_> {
    /// Asks once, and takes what comes.
    pub(super) async fn attempt(&self, transfer: &mut Transfer) -> Result<CachedArchive, Failure> {
        if transfer.validator.is_none() {
            transfer.restart();
        }
        let response = self.ask(transfer).await?;
        self.judge(&response, transfer)?;
        let encoding = encoding(&response);
        let place = shown(self.url, Some(response.url()));
        let incoming = match transfer.incoming.take() {
            Some(incoming) => incoming,
            None => self.new_file().await?,
        };
        let (incoming, received) = receive(self, incoming, response).await?;
        if received.is_err() {
            transfer.incoming = Some(incoming);
            return received.and_then(|()| Err(self.ended_early(transfer.position(), &place)));
        }
        if self.item.size.is_some_and(|expected| incoming.size < expected) {
            // The connection ended early, but in a way that looked like the end.
            let failure = self.ended_early(incoming.size, &place);
            transfer.incoming = Some(incoming);
            return Err(failure);
        }
        let (cache, item, resumed) = (self.cache.clone(), self.item.clone(), transfer.resumed);
        let accepted = blocking(move || cache.accept(incoming, &item)).await;
        accepted.map_err(|error| match (error, encoding) {
            (Error::Sha256Mismatch { .. } | Error::SizeMismatch { .. }, Some(encoding)) => {
                self.encoded(&place, encoding)
            }
            (error @ Error::Sha256Mismatch { .. }, None) if resumed => {
                // Two answers that do not belong together; a whole one may be right.
                transfer.restart();
                Failure::passing(error)
            }
            (error, _) => error.into(),
        })
    }

    async fn ask(&self, transfer: &Transfer) -> Result<Response, Failure> {
        let mut request = self.client.http().get(self.url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if let Some(sha256) = self.item.sha256
            && self.client.asks_registry(self.url)
        {
            request = request.header(EXPECTED_SHA256, sha256.to_string());
        }
        if let (Some(validator), position @ 1..) = (&transfer.validator, transfer.position()) {
            request = request.header(header::RANGE, format!("bytes={position}-")).header(header::IF_RANGE, validator);
        }
        request.send().await.map_err(|error| self.unanswered(error))
    }

    /// Looks at status and headers; puts the transfer to where the body begins.
    fn judge(&self, response: &Response, transfer: &mut Transfer) -> Result<(), Failure> {
        let position = transfer.position();
        match response.status() {
            StatusCode::OK => {
                transfer.restart();
                if let (Some(expected), Some(announced)) = (self.item.size, response.content_length())
                    && expected != announced
                {
                    let place = shown(self.url, Some(response.url()));
                    return Err(match encoding(response) {
                        Some(encoding) => self.encoded(&place, encoding),
                        None => self.wrong_size(&place, announced.to_string(), expected).into(),
                    });
                }
                // Without a hash of the whole nothing would tell whether two parts belong together.
                transfer.validator = validator(response).filter(|_| self.item.sha256.is_some());
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT if position > 0 && continues(response, position, self.item.size) => {
                transfer.resumed = true;
                Ok(())
            }
            // The file has changed, or the server is confused about ranges: from the beginning, then.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if position > 0 => {
                transfer.restart();
                Err(Failure::passing(self.refused(response)))
            }
            _ => Err(self.failed(response)),
        }
    }

    async fn new_file(&self) -> Result<Incoming, Failure> {
        let (cache, item) = (self.cache.clone(), self.item.clone());
        let made = blocking(move || cache.incoming(&item)).await;
        made.map_err(|source| self.item.io_error("make a file in the cache", self.cache.directory(), source).into())
    }
}

/// What names the version of the file: a strong entity tag, else the time of its last change. The latter can be wrong
/// within a second; the hash of the whole tells.
fn validator(response: &Response) -> Option<HeaderValue> {
    let headers = response.headers();
    let tag = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    tag.or_else(|| headers.get(header::LAST_MODIFIED)).cloned()
}

/// Whether the answer is the rest of the file (RFC 9110 §14.4).
fn continues(response: &Response, position: u64, size: Option<u64>) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let Some((first, rest)) = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')) else {
        return false;
    };
    let total = rest.split_once('/').map(|(_, total)| total.trim());
    let same_size = match (total.and_then(|total| total.parse::<u64>().ok()), size) {
        (Some(total), Some(size)) => total == size,
        _ => true,
    };
    first.trim().parse() == Ok(position) && same_size
}

/// A `Content-Encoding`, which nobody asked for.
fn encoding(response: &Response) -> Option<String> {
    let value = response.headers().get(header::CONTENT_ENCODING)?.to_str().ok()?;
    (!value.eq_ignore_ascii_case("identity")).then(|| value.chars().take(40).collect())
}
