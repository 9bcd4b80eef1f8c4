//! What goes into the `Authorization` header: a password, or a token from the registry's token service.

mod challenge;

use std::{collections::BTreeMap, time::Duration};

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderValue},
};
use serde::Deserialize;
use tokio::sync::Mutex;

use self::challenge::Challenge;
use crate::{
    call::{Client, MAX_BODY, read_body},
    credentials::{Credentials, Secret, encoded},
    error::{Error, ErrorKind},
    event::Event,
    options::Access,
    retry,
    retry::{Attempts, Failure},
};

/// The life of a token whose service does not say (distribution-spec, "Token Authentication").
const DEFAULT_LIFE: u64 = 60;
/// Nobody's token is believed for longer.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// What is known about authentication at a registry.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) credentials: Credentials,
    access: Access,
    state: Mutex<AuthState>,
}

#[derive(Debug, Default)]
struct AuthState {
    challenge: Option<Challenge>,
    /// By the scopes that were asked for.
    tokens: BTreeMap<Vec<String>, Token>,
    told: bool,
}

#[derive(Debug, Clone)]
struct Token {
    text: Secret,
    /// On our clock: when it is renewed.
    until: Duration,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
    issued_at: Option<String>,
}

impl Auth {
    pub(crate) fn new(credentials: Credentials, access: Access) -> Self {
        Self { credentials, access, state: Mutex::default() }
    }

    /// The header for a request, if the registry wants one. Tasks that need the same token wait for one request.
    pub(crate) async fn header(&self, client: &Client, scopes: &[String]) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => self.password(client),
            Some(Challenge::Bearer { realm, service, .. }) => {
                let now = client.clock.elapsed();
                if let Some(token) = state.tokens.get(scopes).filter(|token| now < token.until) {
                    return sensitive(&format!("Bearer {}", token.text.expose()), client).map(Some);
                }
                let realm = self.realm(client, &realm, &mut state).await?;
                let token = self.fetch(&TokenRequest { client, realm, service: service.as_deref(), scopes }).await?;
                let header = sensitive(&format!("Bearer {}", token.text.expose()), client)?;
                state.tokens.insert(scopes.to_vec(), token);
                Ok(Some(header))
            }
        }
    }

    /// Learns from a 401 to a request that had `used`: the challenge, and that the token is not good any more. Returns the
    /// scopes with which to try again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::EmptyToken`](crate::ErrorKind::EmptyToken) without credentials, [`ErrorKind::Answer`](crate::ErrorKind::Answer) when it does not say what it wants.
    pub(crate) async fn refused(
        &self,
        client: &Client,
        headers: &HeaderMap,
        used: Option<&HeaderValue>,
        scopes: &[String],
    ) -> Result<Vec<String>, Error> {
        let mut state = self.state.lock().await;
        let offered = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        // Some registries (gcr.io) say what they want only at /v2/.
        let challenge = challenge::parse(offered).or_else(|| state.challenge.clone());
        if self.credentials == Credentials::Anonymous && self.access == Access::Push {
            return Err(self.empty_token(client));
        }
        let mut scopes = scopes.to_vec();
        match &challenge {
            None => {
                let reason = "status 401 without a challenge that we understand";
                return Err(Error::new(ErrorKind::Answer, client.host(), "a request", reason));
            }
            Some(Challenge::Basic) => {}
            Some(Challenge::Bearer { scopes: wanted, .. }) => {
                let is_current = |token: &Token| {
                    used.is_some_and(|used| used.as_bytes().ends_with(format!(" {}", token.text.expose()).as_bytes()))
                };
                // Not if another task has a new one already.
                if state.tokens.get(&scopes).is_some_and(is_current) {
                    state.tokens.remove(&scopes);
                }
                if used.is_some() {
                    // More is asked for only after it was missed: Quay refuses requests for what it never grants.
                    let more = wanted.iter().filter(|scope| scope.len() < 300 && !includes(&scopes, scope)).cloned();
                    scopes.extend(more.collect::<Vec<_>>());
                }
            }
        }
        state.challenge = challenge;
        Ok(scopes)
    }

    /// Keeps what the registry wants, as it said when it was first asked.
    pub(crate) async fn learn(&self, client: &Client, headers: &HeaderMap) -> Result<(), Error> {
        let offered = headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenge = challenge::parse(offered);
        if challenge.is_some() && self.credentials == Credentials::Anonymous && self.access == Access::Push {
            return Err(self.empty_token(client));
        }
        self.state.lock().await.challenge = challenge;
        Ok(())
    }

    /// Whether it has said that it wants to know who asks, and we have nothing to say.
    pub(crate) async fn is_unknown(&self) -> bool {
        self.credentials == Credentials::Anonymous && self.state.lock().await.challenge.is_some()
    }

    pub(crate) fn denied(&self, client: &Client, what: &str, response: &str) -> Error {
        let hint = match &self.credentials {
            Credentials::Anonymous => {
                "no credentials were found for it; log in with `podman login`, or see docs/registries.md".to_owned()
            }
            Credentials::Basic { user, .. } => format!(
                "check that {user:?} is right and may push there (the token needs write access to packages; a robot needs \
                 its full name; the automatic GITEA_TOKEN of Gitea Actions cannot push, use a personal access token)"
            ),
            Credentials::IdentityToken(_) => "the login may have ended; log in again".to_owned(),
        };
        Error::new(ErrorKind::AuthDenied, client.host(), what, response).with_hint(hint)
    }

    fn empty_token(&self, client: &Client) -> Error {
        Error::new(ErrorKind::EmptyToken, client.host(), "", "").with_hint(
            "set REGISTRY_TOKEN, configure token-command, or log in with `podman login` (docs/registries.md)",
        )
    }

    fn password(&self, client: &Client) -> Result<Option<HeaderValue>, Error> {
        match &self.credentials {
            Credentials::Anonymous => Ok(None),
            Credentials::Basic { user, password } => basic(user, password, client).map(Some),
            Credentials::IdentityToken(_) => {
                Err(self.denied(client, "the login", "it wants a password, and the login is an identity token"))
            }
        }
    }

    /// The token service's URL, if credentials may go there; says once that it is at another host.
    async fn realm(&self, client: &Client, realm: &str, state: &mut AuthState) -> Result<Url, Error> {
        let url = Url::parse(realm).map_err(|_| {
            Error::new(ErrorKind::Answer, client.host(), "the first request", "the URL of its token service is invalid")
        })?;
        client.http.check(&url, "the credentials").await?;
        let host = url.host_str().unwrap_or_default();
        if !client.http.is_own(&url) && !state.told {
            state.told = true;
            (client.events)(Event::TokenService {
                registry: client.host(),
                host: crate::error_body::sanitise(host, &client.secrets),
            });
        }
        Ok(url)
    }

    async fn fetch(&self, asked: &TokenRequest<'_>) -> Result<Token, Error> {
        asked.client.retry(Attempts::default(), "a token", async || self.fetch_once(asked).await).await
    }

    async fn fetch_once(&self, asked: &TokenRequest<'_>) -> Result<Token, Failure> {
        let client = asked.client;
        let response = match &self.credentials {
            Credentials::IdentityToken(token) => {
                let response = asked.exchange(token).await?;
                // Gitea knows only GET.
                if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                    asked.get(Some(basic("<token>", token, client)?)).await?
                } else {
                    response
                }
            }
            Credentials::Basic { user, password } => asked.get(Some(basic(user, password, client)?)).await?,
            Credentials::Anonymous => asked.get(None).await?,
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let body = client.limit_document(read_body(response, MAX_BODY)).await?;
        if !status.is_success() {
            let error = client.error_body(&body);
            if let Some(transient) = retry::after_status(status, &headers, &error) {
                return Err(Failure::Transient(transient));
            }
            let what = format!("a token for {}", asked.scopes.join(" "));
            return Err(match status.as_u16() {
                401 | 403 => self.denied(client, &what, error.text()).into(),
                _ => Error::new(ErrorKind::Refused, client.host(), what, error.with_status(status)).into(),
            });
        }
        // What it sent may be a token: it is not repeated.
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| Failure::Final(self.no_token(client)))?;
        let text = if answer.token.is_empty() { &answer.access_token } else { &answer.token };
        if text.is_empty() {
            return Err(self.no_token(client).into());
        }
        client.secrets.add(text);
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
        let left = life.saturating_sub(age(&answer, &headers, life));
        // Renewed before it ends: a 401 in the middle of a large upload costs the upload.
        let until = client.clock.elapsed() + Duration::from_secs(left).mul_f64(0.8);
        Ok(Token { text: Secret::new(text), until })
    }

    fn no_token(&self, client: &Client) -> Error {
        Error::new(ErrorKind::Answer, client.host(), "a request for a token", "the token service sends no token")
    }
}

/// What a token service is asked for.
struct TokenRequest<'a> {
    client: &'a Client,
    realm: Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

impl TokenRequest<'_> {
    async fn get(&self, authorization: Option<HeaderValue>) -> Result<reqwest::Response, Failure> {
        let mut url = self.realm.clone();
        url.query_pairs_mut()
            .extend_pairs(self.service.map(|service| ("service", service)))
            .extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
        let mut request = reqwest::Request::new(Method::GET, url);
        request.headers_mut().extend(authorization.map(|value| (reqwest::header::AUTHORIZATION, value)));
        self.client.execute(request).await
    }

    /// OAuth2's exchange of a refresh token for an access token, as Docker's registries do it.
    async fn exchange(&self, token: &Secret) -> Result<reqwest::Response, Failure> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
        form.append_pair("client_id", "pixi-oci").append_pair("scope", &self.scopes.join(" "));
        form.extend_pairs(self.service.map(|service| ("service", service)));
        let mut request = reqwest::Request::new(Method::POST, self.realm.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert("content-type", kind);
        *request.body_mut() = Some(form.finish().into());
        self.client.execute(request).await
    }
}

/// How long ago a token was issued, when the service says so and its clock agrees with itself.
fn age(answer: &TokenAnswer, headers: &HeaderMap, life: u64) -> u64 {
    let issued = answer.issued_at.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let now = headers.get("date").and_then(|value| value.to_str().ok()).and_then(pixi_oci_net::http_date);
    let age = issued.zip(now).map_or(0, |(issued, now)| now.saturating_sub(issued.as_second()));
    u64::try_from(age).ok().filter(|age| *age < life).unwrap_or(0)
}

/// Whether scopes allow all that another one allows: `repository:NAME:ACTION,ACTION`.
fn includes(scopes: &[String], wanted: &str) -> bool {
    let Some((resource, actions)) = wanted.rsplit_once(':') else { return true };
    scopes.iter().filter_map(|scope| scope.rsplit_once(':')).any(|(own, allowed)| {
        own == resource && actions.split(',').all(|action| allowed.split(',').any(|allowed| allowed == action))
    })
}

fn basic(user: &str, password: &Secret, client: &Client) -> Result<HeaderValue, Error> {
    sensitive(&format!("Basic {}", encoded(user, password)), client)
}

/// A header whose value nothing prints.
fn sensitive(text: &str, client: &Client) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::new(ErrorKind::Answer, client.host(), "a request for a token", "the token cannot be in a header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_compared_by_what_they_allow() {
        let own = ["repository:a/b:pull,push".to_owned()];
        for included in ["repository:a/b:pull", "repository:a/b:push,pull", "nonsense"] {
            assert!(includes(&own, included), "{included}");
        }
        for more in
            ["repository:a/b:delete", "repository:a/b:pull,push,delete", "repository:a:pull", "registry:catalog:*"]
        {
            assert!(!includes(&own, more), "{more}");
        }
    }

    #[test]
    fn the_age_of_a_token_counts_only_when_it_can_be_true() {
        let headers =
            HeaderMap::from_iter([(reqwest::header::DATE, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:30 GMT"))]);
        for (issued, expected) in [
            (Some("2015-10-21T07:28:00Z"), 30),
            (Some("2015-10-20T07:28:00Z"), 0),
            (Some("2015-10-22T07:28:00Z"), 0),
            (Some("soon"), 0),
            (None, 0),
        ] {
            let answer = TokenAnswer {
                token: String::new(),
                access_token: String::new(),
                expires_in: None,
                issued_at: issued.map(str::to_owned),
            };
            assert_eq!(age(&answer, &headers, 60), expected, "{issued:?}");
        }
    }
}
