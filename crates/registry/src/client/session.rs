//! Requests to a registry: the first contact, authentication, redirects, and further attempts.

use std::sync::Arc;

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    body::{FilePart, Progress},
    call::{MAX_BODY, read_body},
    client::Registry,
    error::{Error, ErrorKind},
    error_body::{ErrorBody, looks_like_page},
    retry,
    retry::{Attempts, Failure, PING_ATTEMPTS},
};

const MAX_REDIRECTS: usize = 5;
/// A refusal can be a registry's nerves (build-push-action#463): it is asked once more.
const AFTER_FORBIDDEN: std::time::Duration = std::time::Duration::from_secs(2);

/// A request that can be sent several times.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// What it is about, for errors.
    pub(super) what: &'a str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) payload: Payload<'a>,
    /// What a token has to allow.
    pub(super) scopes: Vec<String>,
    /// Whether a refusal is final at once, because it is no loss.
    pub(super) optional: bool,
}

#[derive(Debug)]
pub(super) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    File(&'a FilePart),
}

/// An answer: of success, or of a failure that another attempt would not change.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from in the end.
    pub(super) url: Url,
    pub(super) error: ErrorBody,
    /// The answer whose body is still to be read, if it is no error.
    pub(super) response: Option<Response>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.trim().parse().ok())
    }
}

impl Registry {
    /// Asks whether there is a registry, once; every other request waits for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RegistryDown`](crate::ErrorKind::RegistryDown), [`ErrorKind::NotARegistry`](crate::ErrorKind::NotARegistry), and [`ErrorKind::EmptyToken`](crate::ErrorKind::EmptyToken) when it wants credentials for
    /// publishing and there are none.
    pub async fn ping(&self) -> Result<(), Error> {
        let contact = self.reached.get_or_try_init(|| {
            self.client.retry(Attempts::at_most(PING_ATTEMPTS), "/v2/", async || self.contact().await)
        });
        contact.await.map(drop)
    }

    /// Whether publishing would need credentials, and there are none: many registries let everybody read.
    pub async fn wants_login(&self) -> bool {
        self.auth.is_unknown().await
    }

    async fn contact(&self) -> Result<(), Failure> {
        let schemes = self.client.http.schemes();
        let first = self.knock(schemes[0]).await;
        // What a server says that expects TLS and gets HTTP: Go's and nginx' say 400, others end the connection.
        let is_strange = first.as_ref().map_or(true, |response| response.status() == StatusCode::BAD_REQUEST);
        match schemes.get(1).filter(|_| is_strange) {
            Some(second) => match self.knock(second).await {
                Ok(response) => self.met(second, response).await,
                Err(encrypted) => match self.met(schemes[0], first?).await {
                    // Go and nginx say that they expect HTTPS: what counts is why that failed, mostly a certificate.
                    Err(Failure::Final(error))
                        if error.kind() == ErrorKind::NotARegistry && error.response().contains("HTTPS") =>
                    {
                        Err(encrypted)
                    }
                    met => met,
                },
            },
            None => self.met(schemes[0], first?).await,
        }
    }

    async fn knock(&self, scheme: &str) -> Result<Response, Failure> {
        self.client.execute(reqwest::Request::new(Method::GET, self.client.http.url(scheme, "/v2/")?)).await
    }

    async fn met(&self, scheme: &'static str, response: Response) -> Result<(), Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let not_a_registry =
            |reason: String| Failure::Final(Error::new(ErrorKind::NotARegistry, self.client.host(), "", reason));
        if status.is_redirection() {
            return Err(not_a_registry(format!("it redirects /v2/ (status {})", status.as_u16())));
        }
        let body = self.client.limit_document(read_body(response, MAX_BODY)).await?;
        let error = self.client.error_body(&body);
        let html = headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
        match status {
            StatusCode::OK if html || looks_like_page(&String::from_utf8_lossy(&body)) => {
                return Err(not_a_registry("it answers /v2/ with a web page".into()));
            }
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED if headers.contains_key("www-authenticate") => {}
            status => {
                if let Some(transient) = retry::after_status(status, &headers, &error) {
                    return Err(Failure::Transient(transient));
                }
                if status == StatusCode::FORBIDDEN && !error.is_page {
                    return Err(self.auth.denied(&self.client, "every request", error.text()).into());
                }
                return Err(not_a_registry(format!("it answers /v2/ with {}", error.with_status(status))));
            }
        }
        self.client.warn(&headers);
        self.client.http.set_scheme(scheme);
        Ok(self.auth.learn(&self.client, &headers).await?)
    }

    /// A URL of the repository. Nothing is asked for that does not begin here, so the first contact comes first.
    pub(super) async fn url(&self, rest: &str) -> Result<Url, Error> {
        self.ping().await?;
        self.client.http.url(self.client.http.scheme(), &format!("/v2/{}/{rest}", self.repository.path()))
    }

    /// A request without a body that needs no more than the registry's usual scope.
    pub(super) fn request<'a>(&self, method: Method, url: Url, what: &'a str) -> Request<'a> {
        let scopes = vec![self.scope()];
        Request { method, url, what, headers: Vec::new(), payload: Payload::None, scopes, optional: false }
    }

    /// Sends a request until there is an answer that another attempt would not change.
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Reply, Error> {
        self.client.retry(Attempts::default(), request.what, async || self.send(request).await).await
    }

    pub(super) async fn wait(&self, attempts: &mut Attempts, what: &str, failure: Failure) -> Result<(), Error> {
        attempts.wait(&self.client.host(), what, failure, self.client.patience()).await
    }

    /// One attempt, with what belongs to it: a new token when the old one has ended, redirects.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let client = &self.client;
        let mut scopes = request.scopes.clone();
        let mut url = request.url.clone();
        let (mut unauthorised, mut forbidden, mut redirects) = (0, request.optional, 0);
        loop {
            client.http.check(&url, request.what).await?;
            let own = client.http.is_own(&url);
            // Nowhere else (CVE-2026-50151).
            let authorization = if own { self.auth.header(client, &scopes).await? } else { None };
            let response = self.send_once(request, &url, authorization.as_ref()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            if own {
                client.warn(&headers);
            }
            if own && status == StatusCode::UNAUTHORIZED && unauthorised < replays(authorization.as_ref()) {
                unauthorised += 1;
                scopes = self.auth.refused(client, &headers, authorization.as_ref(), &scopes).await?;
                continue;
            }
            if let Some(next) = next_url(&request.method, status, &headers, &url) {
                let next = next.map_err(|reason| self.answer(request.what, reason))?;
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(self.answer(request.what, "it redirects for ever").into());
                }
                url = next;
                continue;
            }
            if !status.is_client_error() && !status.is_server_error() {
                return Ok(Reply { status, headers, url, error: ErrorBody::default(), response: Some(response) });
            }
            let body = client.limit_document(read_body(response, MAX_BODY)).await?;
            let error = client.error_body(&body);
            if let Some(transient) = retry::after_status(status, &headers, &error) {
                return Err(Failure::Transient(transient));
            }
            if status == StatusCode::FORBIDDEN && !forbidden && !error.is_quota() {
                forbidden = true;
                client.clock.sleep(AFTER_FORBIDDEN).await;
                continue;
            }
            return Ok(Reply { status, headers, url, error, response: None });
        }
    }

    async fn send_once(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut sent = reqwest::Request::new(request.method.clone(), url.clone());
        for (name, value) in &request.headers {
            sent.headers_mut().insert(name, value.clone());
        }
        if let Some(value) = authorization {
            sent.headers_mut().insert("authorization", value.clone());
        }
        let length = match &request.payload {
            Payload::File(part) => part.length,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::None => 0,
        };
        if !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE) {
            // A proxy that does not know the length would send it in chunks, which some registries do not take.
            sent.headers_mut().insert("content-length", length.into());
        }
        match &request.payload {
            Payload::None => self.client.execute(sent).await,
            Payload::Bytes(bytes) => {
                *sent.body_mut() = Some(bytes.to_vec().into());
                self.client.bytes.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
                self.client.execute(sent).await
            }
            Payload::File(part) => {
                let progress = Arc::new(Progress::default());
                *sent.body_mut() = Some(part.body(progress.clone(), self.client.events.clone()));
                self.client.execute_body(sent, &progress, length).await
            }
        }
    }

    /// An answer that is not what it should be.
    pub(super) fn answer(&self, what: &str, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Answer, self.client.host(), what, reason)
    }

    /// What an answer with an error status means.
    pub(super) fn refusal(&self, what: &str, reply: &Reply) -> Error {
        let kind = match reply.status.as_u16() {
            400 | 403 if reply.error.is_quota() => ErrorKind::Quota,
            507 => ErrorKind::Quota,
            401 | 403 => return self.auth.denied(&self.client, what, reply.error.text()),
            404 => ErrorKind::NotFound,
            413 => ErrorKind::TooLarge,
            200..400 => return self.answer(what, format!("status {}", reply.status.as_u16())),
            _ => {
                return Error::new(ErrorKind::Refused, self.client.host(), what, reply.error.with_status(reply.status));
            }
        };
        Error::new(kind, self.client.host(), what, reply.error.text())
    }
}

/// How often a request is sent again after a 401. A new token may have ended as well when several tasks share it; a password
/// does not get better.
fn replays(authorization: Option<&HeaderValue>) -> u32 {
    let is_token = authorization.is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    if is_token { 3 } else { 1 }
}

/// Where an answer sends us, if it does.
fn next_url(method: &Method, status: StatusCode, headers: &HeaderMap, url: &Url) -> Option<Result<Url, &'static str>> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let follows = match status.as_u16() {
        301..=303 => reads,
        307 | 308 => true,
        _ => false,
    };
    if !follows {
        return None;
    }
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    Some(
        location
            .ok_or("it redirects without saying where")
            .and_then(|location| url.join(location).map_err(|_| "it redirects to what is no URL")),
    )
}
