//! The HTTP client that packages are fetched with.

use std::time::Duration;

use rattler_networking::{AuthenticationMiddleware, AuthenticationStorage};
use reqwest::redirect::Policy;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer, not for the whole of it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 10;

/// An HTTP client that logs in where it must, the way pixi does.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) http: ClientWithMiddleware,
}

impl Client {
    /// A client with the user's credentials from where pixi looks for them: `RATTLER_AUTH_FILE`, the keyring,
    /// `~/.rattler/credentials.json`, `.netrc`. Proxies and root certificates are those of the environment, too.
    ///
    /// This is the one place of the library where the environment is read; only the command line calls it.
    pub fn from_environment() -> Result<Self, Error> {
        let storage = AuthenticationStorage::from_env_and_defaults()
            .map_err(|error| Error::Client { message: format!("cannot read stored credentials: {error}") })?;
        Self::with_credentials(storage)
    }

    /// A client with these credentials and no others.
    pub fn with_credentials(storage: AuthenticationStorage) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("pixi-oci/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // The archive's own bytes are hashed; some servers call `.tar.bz2` or `.gz` an encoding and would have it undone.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            // The address asked first can carry a `/t/TOKEN/`.
            .referer(false)
            .redirect(redirects())
            .build()
            .map_err(|error| Error::Client { message: error.to_string() })?;
        let authentication = AuthenticationMiddleware::from_auth_storage(storage);
        Ok(Self { http: ClientBuilder::new(http).with(authentication).build() })
    }
}

/// Follows redirects, but not from https to http. Credentials do not go along to another host: the middleware adds them to
/// the first request only, and reqwest drops the `Authorization` header when host or port change.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let insecure = attempt.url().scheme() == "http" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if insecure {
            attempt.error("it redirects from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("it redirects too often")
        } else {
            attempt.follow()
        }
    })
}
