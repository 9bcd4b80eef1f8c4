//! One HTTP request: counted, limited in time and size, and with the errors that it can have.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pixi_oci_net::{LeastRate, Patience};
use reqwest::{Response, header::HeaderMap};

use crate::{
    body::{FileError, Progress},
    credentials::Secrets,
    error::{Error, ErrorKind},
    error_body::{ErrorBody, sanitise},
    event::{Event, Events},
    http::{Http, Private, cause_of, chain},
    retry::{Attempts, Clock, Failure, RetryBudget},
};

/// Tokens and error messages.
pub(crate) const MAX_BODY: u64 = 1 << 20;
/// So many warnings of a registry are passed on.
const MAX_WARNINGS: usize = 10;

/// What all requests of a registry share.
pub(crate) struct Client {
    pub(crate) http: Http,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) budget: RetryBudget,
    pub(crate) progress_timeout: Duration,
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) warnings: Mutex<BTreeSet<String>>,
    pub(crate) secrets: Secrets,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn host(&self) -> String {
        self.http.host().to_owned()
    }

    /// What waiting between attempts needs.
    pub(crate) fn patience(&self) -> (&dyn Clock, &RetryBudget, &Events) {
        (&*self.clock, &self.budget, &self.events)
    }

    /// Attempts `what` until it works, or another attempt would not.
    pub(crate) async fn retry<T>(
        &self,
        mut attempts: Attempts,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => attempts.wait(&self.host(), what, failure, self.patience()).await?,
            }
        }
    }

    /// Sends a small request and waits for the head of the answer.
    pub(crate) async fn execute(&self, request: reqwest::Request) -> Result<Response, Failure> {
        self.execute_until(request, tokio::time::sleep(self.progress_timeout)).await
    }

    /// Sends a body of this length and waits as long as it moves at the least rate.
    pub(crate) async fn execute_body(
        &self,
        request: reqwest::Request,
        progress: &Progress,
        length: u64,
    ) -> Result<Response, Failure> {
        let result = self.execute_until(request, progress.is_too_slow(length, self.progress_timeout)).await;
        self.bytes.fetch_add(progress.sent(), Ordering::Relaxed);
        result
    }

    async fn execute_until(
        &self,
        request: reqwest::Request,
        given_up: impl Future<Output = ()>,
    ) -> Result<Response, Failure> {
        let client = self.http.client(request.url())?;
        let to = request.url().host_str().unwrap_or_default().to_owned();
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            response = client.execute(request) => response.map_err(|error| self.failure(&to, &error)),
            () = given_up => Err(self.too_long()),
        }
    }

    /// Reads an answer that cannot be long, and does not wait for ever for it: a server could send a byte a minute.
    pub(crate) async fn limit_document<T>(&self, read: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limited = tokio::time::timeout(self.progress_timeout * 2, read).await;
        limited.unwrap_or_else(|_| Err(self.too_long()))
    }

    /// The next piece of an answer that may be long.
    pub(crate) async fn next_piece(
        &self,
        response: &mut Response,
        rate: &mut LeastRate,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let began = Instant::now();
        let piece = match tokio::time::timeout(self.progress_timeout, response.chunk()).await {
            Ok(Ok(piece)) => piece.map(|piece| piece.to_vec()),
            Ok(Err(error)) => return Err(Failure::transient(chain(&error))),
            Err(_) => return Err(self.too_long()),
        };
        match &piece {
            Some(bytes) if rate.is_too_slow(bytes.len() as u64, began.elapsed()) => Err(self.too_long()),
            _ => Ok(piece),
        }
    }

    fn too_long(&self) -> Failure {
        let seconds = self.progress_timeout.as_secs();
        Failure::slow(format!("less than {} bytes moved in {seconds} seconds", Patience::LEAST))
    }

    fn failure(&self, to: &str, error: &reqwest::Error) -> Failure {
        if let Some(file) = cause_of::<FileError>(error) {
            return file.to_error().into();
        }
        if let Some(private) = cause_of::<Private>(error) {
            return Error::new(ErrorKind::Forbidden, self.host(), format!("a request to {to}"), private.to_string())
                .into();
        }
        let reason = chain(error);
        // rustls' words. The certificate will be the same in a second.
        if error.is_connect() && reason.contains("certificate") {
            let hint = "give the authority's certificate with --ca-file";
            return Error::new(ErrorKind::RegistryDown, to, "", reason).with_hint(hint).into();
        }
        // hyper's words for a head that is not HTTP; it will hardly be better in a second.
        if ["invalid HTTP", "head is too large", "invalid content-length"].iter().any(|words| reason.contains(words)) {
            return Failure::slow(reason);
        }
        Failure::transient(reason)
    }

    pub(crate) fn error_body(&self, body: &[u8]) -> ErrorBody {
        ErrorBody::of(body, &self.secrets)
    }

    /// Passes on what a registry warns of: each text once.
    pub(crate) fn warn(&self, headers: &HeaderMap) {
        for value in headers.get_all("warning").iter().take(MAX_WARNINGS).filter_map(|value| value.to_str().ok()) {
            // `299 - "text"`, perhaps with a date after it (distribution-spec, "Warnings").
            let Some(text) = value.strip_prefix("299 ").and_then(|rest| rest.split_once('"')) else { continue };
            let text = text.1.rsplit_once('"').map_or(text.1, |(text, _)| text).replace("\\\"", "\"");
            let text = sanitise(&text, &self.secrets);
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if warnings.len() < MAX_WARNINGS && warnings.insert(text.clone()) {
                (self.events)(Event::Warning(text));
            }
        }
    }
}

/// The whole body of an answer, if it is not longer than `max`.
pub(crate) async fn read_body(mut response: Response, max: u64) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() as u64 + piece.len() as u64 <= max => body.extend_from_slice(&piece),
            Ok(Some(_)) => {
                let host = response.url().host_str().unwrap_or_default();
                let reason = format!("it is longer than {max} bytes");
                return Err(Error::new(ErrorKind::Answer, host, "a request", reason).into());
            }
            Ok(None) => return Ok(body),
            Err(error) => return Err(Failure::transient(chain(&error))),
        }
    }
}
