//! A guard around rattler's gateway, which takes whatever a channel sends: what comes, and what that unpacks to, is bounded, and a
//! channel that sends hardly anything is given up.

mod count;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use pixi_oci_net::{LeastRate, Patience, redact};
use reqwest::{Body, Method, Request, Response, ResponseBuilderExt, header::CONTENT_ENCODING};
use reqwest_middleware::{Error, Middleware, Next, Result};
use url::Url;

use count::Counted;

/// What was refused, and why: the gateway would ask for it again.
type Refused = Arc<Mutex<BTreeMap<Url, String>>>;

/// Sees every request of the gateway before anybody else does.
#[derive(Debug)]
pub(super) struct Guard {
    window: Duration,
    refused: Refused,
}

impl Guard {
    pub(super) fn new(patience: Patience) -> Self {
        Self { window: patience.window, refused: Refused::default() }
    }
}

#[async_trait::async_trait]
impl Middleware for Guard {
    async fn handle(&self, request: Request, extensions: &mut http::Extensions, next: Next<'_>) -> Result<Response> {
        let (method, url) = (request.method().clone(), request.url().clone());
        if let Some(reason) = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(&url) {
            return Err(Error::middleware(io::Error::other(format!("{}: {reason}", redact(url.as_str())))));
        }
        let response = next.run(request, extensions).await?;
        if method != Method::GET {
            return Ok(response);
        }
        let is_gzip = response.headers().get_all(CONTENT_ENCODING).iter().any(|encoding| encoding == "gzip");
        let counted = Counted::new(url.path(), response.status().is_success(), is_gzip).map_err(Error::middleware)?;
        let mut guarded = http::response::Builder::new()
            .status(response.status())
            .version(response.version())
            .url(response.url().clone());
        guarded.headers_mut().into_iter().for_each(|headers| *headers = response.headers().clone());
        let watched = Watched { counted, rate: LeastRate::new(self.window), refused: self.refused.clone(), url };
        let body = Body::wrap_stream(watched.pieces(response.bytes_stream()));
        Ok(guarded.body(body).map_err(Error::middleware)?.into())
    }
}

/// A body on its way.
struct Watched {
    counted: Counted,
    rate: LeastRate,
    refused: Refused,
    url: Url,
}

impl Watched {
    /// The pieces, up to one that is too much or came too slowly: an error in its place.
    fn pieces(
        self,
        body: impl Stream<Item = reqwest::Result<Bytes>> + Send + Unpin + 'static,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(Some((self, body)), async |state| {
            let (mut watched, mut body) = state?;
            let began = Instant::now();
            let piece = body.next().await?.map_err(io::Error::other);
            match piece.and_then(|piece| watched.look_at(&piece, began.elapsed()).map(|()| piece)) {
                Ok(piece) => Some((Ok(piece), Some((watched, body)))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    fn look_at(&mut self, piece: &[u8], waited: Duration) -> io::Result<()> {
        if let Err(error) = self.counted.count(piece) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.insert(self.url.clone(), error.to_string());
            return Err(error);
        }
        if self.rate.is_too_slow(piece.len() as u64, waited) {
            return Err(io::Error::other(format!("it sends less than {} bytes in a minute", Patience::LEAST)));
        }
        Ok(())
    }
}
