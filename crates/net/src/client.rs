//! The HTTP client that packages, and whatever else a channel has, are fetched with.
//!
//! ```text
//! request ─▶ offline? ─▶ mirrors ─▶ oci: ─▶ s3: ─▶ login ─▶ network
//! ```
//!
//! The order is pixi's: a mirror may be an OCI registry or a bucket, and it is the mirror's host that is logged in to.
//! Nothing is tried again here; that is up to who asked (see [`crate::RetryPolicy`]).

use std::sync::Arc;

use rattler_networking::{AuthenticationMiddleware, AuthenticationStorage, OciMiddleware, OfflineMiddleware};
use reqwest::{Proxy, redirect::Policy};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware};
use url::Url;

use crate::{
    Error,
    redact::{redact_text, without_credentials},
};

mod credentials;
mod mirror;
mod s3;
mod settings;
mod tls;

pub use settings::{ClientSettings, CredentialFiles, Patience, S3Bucket, S3Environment, S3Settings, Tls, TlsRootCerts};

const MAX_REDIRECTS: usize = 10;

/// An HTTP client that finds mirrors, logs in and trusts as pixi does. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: ClientWithMiddleware,
    plain: reqwest::Client,
    stack: Vec<Arc<dyn Middleware>>,
    storage: AuthenticationStorage,
    mirrors: Vec<(Url, Vec<Url>)>,
    patience: Patience,
}

impl Client {
    /// Makes a client. Files with logins and certificates are read now, hosts are asked later.
    ///
    /// # Errors
    /// A file of logins or certificates that is there cannot be used, or a proxy's address makes no sense.
    pub fn new(settings: &ClientSettings) -> Result<Self, Error> {
        let storage = credentials::storage(&settings.credentials)?;
        let plain = plain(settings)?;
        let mut stack: Vec<Arc<dyn Middleware>> = Vec::new();
        if settings.offline {
            stack.push(Arc::new(OfflineMiddleware));
        }
        if !settings.mirrors.is_empty() {
            stack.push(Arc::new(mirror::KeepCredentials(settings.mirrors.keys().cloned().collect())));
            stack.push(Arc::new(mirror::middleware(&settings.mirrors)));
        }
        stack.push(Arc::new(OciMiddleware::new(plain.clone()).with_authentication_storage(storage.clone())));
        stack.push(Arc::new(s3::S3 { settings: settings.s3.clone(), storage: storage.clone(), now: settings.now }));
        stack.push(Arc::new(AuthenticationMiddleware::from_auth_storage(storage.clone())));
        let http = ClientWithMiddleware::new(plain.clone(), stack.clone());
        let mirrors = settings.mirrors.iter().map(|(origin, targets)| (origin.clone(), targets.clone())).collect();
        Ok(Self { http, plain, stack, storage, mirrors, patience: settings.patience })
    }

    pub fn http(&self) -> &ClientWithMiddleware {
        &self.http
    }

    /// The client itself behind a middleware that sees requests first and their answers last.
    pub fn http_behind(&self, first: impl Middleware) -> ClientWithMiddleware {
        let stack = self.stack.iter().cloned();
        stack.fold(ClientBuilder::new(self.plain.clone()).with(first), ClientBuilder::with_arc).build()
    }

    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Whether there is any login for the host of a URL, for advice in errors.
    pub fn has_login(&self, url: &Url) -> bool {
        let found: Result<_, reqwest::Error> = self.storage.get_by_url(url.clone());
        found.is_ok_and(|(_, login)| login.is_some())
    }

    /// Whether an OCI registry may be asked for a URL.
    pub fn asks_registry(&self, url: &Url) -> bool {
        let registry = |url: &Url| url.scheme() == "oci";
        registry(url) || self.mirrors_of(url).iter().any(registry)
    }

    /// The mirrors that are asked in place of a URL; empty if it is asked for itself.
    pub fn mirrors_of(&self, url: &Url) -> &[Url] {
        let plain = without_credentials(url);
        let longest = self.mirrors.iter().filter(|(origin, _)| plain.as_str().starts_with(origin.as_str()));
        longest.max_by_key(|(origin, _)| origin.path().len()).map_or(&[], |(_, targets)| targets)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("http", &self.http).finish_non_exhaustive()
    }
}

/// The client below mirrors and logins.
fn plain(settings: &ClientSettings) -> Result<reqwest::Client, Error> {
    let proxies = settings.proxies.rules()?;
    let builder = reqwest::Client::builder()
        .user_agent(concat!("pixi-oci/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.patience.connect)
        .read_timeout(settings.patience.silence)
        // The archive's own bytes are hashed; some servers call `.tar.bz2` or `.gz` an encoding and would have it undone.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        // The address asked first can carry a `/t/TOKEN/`.
        .referer(false)
        .redirect(redirects())
        // The environment is the command line's business, which hands the proxies down.
        .no_proxy()
        .proxy(Proxy::custom(move |url| proxies.for_url(url)));
    let builder = tls::with_trust(builder, &settings.tls)?;
    builder.build().map_err(|error| Error::Client { message: cause(&error) })
}

/// Follows redirects, but not from https to http. Credentials do not go along to another host: the middleware adds them to
/// the first request only, and reqwest drops the `Authorization` header when scheme, host or port change.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let insecure =
            attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if insecure {
            attempt.error("it redirects from https to something that is not https")
        } else if !matches!(attempt.url().scheme(), "http" | "https") {
            attempt.error("it redirects to something that is not on the web")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("it redirects too often")
        } else {
            attempt.follow()
        }
    })
}

/// The error and its causes in one line, without URLs' secrets.
pub fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(&format!(": {text}"));
        }
        source = cause.source();
    }
    redact_text(&message)
}
