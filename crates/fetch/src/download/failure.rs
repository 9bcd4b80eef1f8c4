//! Why a try failed, whether another may help, and how to say so.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use url::Url;

use super::task::Download;
use crate::Error;
use pixi_oci_net::{cause, redact, retry_after, without_credentials};

pub(super) enum Failure {
    /// It may go better the next time, but not before the server's `Retry-After`.
    Passing {
        error: Box<Error>,
        retry_after: Option<Duration>,
    },
    Final(Box<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(Box::new(error))
    }
}

impl Failure {
    pub(super) fn passing(error: Error) -> Self {
        Self::Passing { error: Box::new(error), retry_after: None }
    }
}

/// The URL as it may be shown, and the one that was asked in its place: a mirror's, or where a redirect went.
pub(super) fn shown(url: &Url, asked: Option<&Url>) -> String {
    let named = redact(url.as_str());
    // A login that was added to the URL makes no other place of it.
    match asked.filter(|asked| without_credentials(asked) != without_credentials(url)) {
        Some(asked) => format!("{named} (asked of {})", redact(asked.as_str())),
        None => named,
    }
}

impl Download<'_> {
    /// An answer that is no archive.
    pub(super) fn failed(&self, response: &Response) -> Failure {
        let status = response.status();
        let error = self.refused(response);
        let passing =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if passing {
            Failure::Passing { error: Box::new(error), retry_after: retry_after(response.headers()) }
        } else {
            error.into()
        }
    }

    pub(super) fn refused(&self, response: &Response) -> Error {
        let status = response.status();
        let place = shown(self.url, Some(response.url()));
        self.error(format!("{place} answered {status}{}", self.hint(status)))
    }

    fn hint(&self, status: StatusCode) -> String {
        let mirrors = self.client.mirrors_of(self.url);
        let asked = mirrors.first().unwrap_or(self.url);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let host = match asked.scheme() {
                    "s3" => format!("s3://{}", asked.host_str().unwrap_or_default()),
                    _ => asked.host_str().unwrap_or_default().to_owned(),
                };
                let known =
                    if self.client.has_login(asked) { "the login for it is not enough; renew it" } else { "log in" };
                format!(
                    "; {known} with `pixi auth login {host}` (RATTLER_AUTH_FILE, ~/.rattler/credentials.json and .netrc are read, the keyring is not)"
                )
            }
            StatusCode::NOT_FOUND | StatusCode::GONE if !mirrors.is_empty() => {
                "; the mirror does not have the package: change `mirrors` in pixi's configuration".to_owned()
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                "; the channel does not have the package any more: update the lock file with `pixi update`".to_owned()
            }
            _ if status.is_redirection() => "; it redirects to where packages are not fetched from".to_owned(),
            _ => String::new(),
        }
    }

    /// No answer at all.
    pub(super) fn unanswered(&self, error: reqwest_middleware::Error) -> Failure {
        match error {
            reqwest_middleware::Error::Reqwest(error) => self.broke_off(error),
            reqwest_middleware::Error::Middleware(error) => {
                let answer = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>());
                let hint = if answer.is_some_and(reqwest::Error::is_connect) { self.unreachable() } else { "" };
                self.network(shown(self.url, None), cause(error.as_ref()) + hint, answer.is_some_and(may_pass))
            }
        }
    }

    /// An answer that ends in an error, or none.
    pub(super) fn broke_off(&self, error: reqwest::Error) -> Failure {
        let passing = may_pass(&error);
        let place = shown(self.url, error.url());
        let hint = if error.is_connect() { self.unreachable() } else { "" };
        self.network(place, cause(&error.without_url()) + hint, passing)
    }

    /// What helps where there is nobody at an address.
    fn unreachable(&self) -> &'static str {
        if self.client.mirrors_of(self.url).is_empty() {
            "; if it has another address from here, say so under [mirrors] in pixi's configuration, for instance in .pixi/config.toml"
        } else {
            "; that is the address under [mirrors] in pixi's configuration"
        }
    }

    pub(super) fn ended_early(&self, received: u64, place: &str) -> Failure {
        let expected = self.item.size.unwrap_or(received);
        Failure::passing(self.wrong_size(place, received.to_string(), expected))
    }

    pub(super) fn too_slow(&self, place: &str, window: Duration) -> Failure {
        let message = format!("too slow: less than {} bytes in {window:?}", pixi_oci_net::Patience::LEAST);
        self.network(place.to_owned(), message, true)
    }

    pub(super) fn encoded(&self, place: &str, encoding: String) -> Failure {
        let what = format!(
            "{place} answered with `content-encoding: {encoding}`, which was not asked for, and it is not what the lock file says; a server or proxy in between changes package archives"
        );
        self.error(what).into()
    }

    fn error(&self, what: String) -> Error {
        Error::Download { package: self.item.name.clone(), what }
    }

    pub(super) fn wrong_size(&self, place: &str, actual: String, expected: u64) -> Error {
        Error::SizeMismatch { package: self.item.name.clone(), location: place.to_owned(), actual, expected }
    }

    fn network(&self, url: String, mut message: String, passing: bool) -> Failure {
        // rustls says so, and is too far down to be asked.
        let untrusted = message.contains("invalid peer certificate");
        if untrusted {
            message.push_str("; a private authority can be named with SSL_CERT_FILE");
        }
        let error = self.error(format!("{url}: {message}"));
        if passing && !untrusted { Failure::passing(error) } else { error.into() }
    }
}

fn may_pass(error: &reqwest::Error) -> bool {
    !error.is_builder() && !error.is_redirect()
}
