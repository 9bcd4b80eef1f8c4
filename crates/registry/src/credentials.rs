//! Who we are for a registry.
//!
//! One registry at a time: credentials are found for a repository and are never tried at another host
//! (CVE-2021-41092). The first source that has some counts; one that is configured for the registry and fails is an
//! error and not a reason to go on.

mod auth_file;
mod command;
mod secret;

use std::{ffi::OsString, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};

pub use secret::Secret;
pub(crate) use secret::Secrets;

use crate::{
    error::{Error, ErrorKind},
    repository::Repository,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    Anonymous,
    /// A name and a password or access token.
    Basic {
        user: String,
        password: Secret,
    },
    /// What `docker login` got for a password: a token that buys tokens (OAuth2 refresh token).
    IdentityToken(Secret),
}

impl Credentials {
    /// Every form in which they are sent.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Basic { user, password } => vec![password.expose().to_owned(), encoded(user, password)],
            Self::IdentityToken(token) => vec![token.expose().to_owned(), encoded("<token>", token)],
        }
    }
}

/// `USER:PASSWORD` as HTTP's basic authentication sends it.
pub(crate) fn encoded(user: &str, password: &Secret) -> String {
    BASE64_STANDARD.encode(format!("{user}:{}", password.expose()))
}

/// Where credentials are looked for, in the order of the fields. Plain data: the command line reads the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialSources {
    /// Logins of single registries that are published to, given by their hosts.
    pub logins: Vec<HostCredentials>,
    /// `REGISTRY_TOKEN`. Leave it out when reading from another registry than the one that is published to.
    pub token: Option<Secret>,
    /// `REGISTRY_USER`, for `token` and `token_command`. By default the owner in the repository's path, as most
    /// registries do not look at it; clouds have fixed ones.
    pub user: Option<String>,
    /// A program with its arguments, whose first line of output is a token.
    pub token_command: Option<Vec<String>>,
    /// Files in the form of containers-auth.json(5). Missing ones are skipped.
    pub auth_files: Vec<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: the content of such a file.
    pub auth_config: Option<Secret>,
    /// `PATH`, in which the credential helpers are that those files name.
    pub path: Option<OsString>,
    /// What CI systems provide for single hosts.
    pub ci: Vec<HostCredentials>,
}

/// Credentials that a CI system provides for one host: `GITHUB_TOKEN` for `ghcr.io`, `CI_REGISTRY_PASSWORD` for
/// `$CI_REGISTRY`, `DOCKER_PASSWORD` for `docker.io`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCredentials {
    /// The only host that they are for, as in [`Repository::host`].
    pub host: String,
    /// The name; where it is empty, the one that usually goes with a token there.
    pub user: String,
    pub password: Secret,
}

/// The end of the variables with a registry's own login, `REGISTRY_USER_<HOST>` and `REGISTRY_TOKEN_<HOST>`: the host in capitals
/// and `_` for everything else.
pub fn variable_suffix(host: &str) -> String {
    host.replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_uppercase()
}

impl CredentialSources {
    /// Without what is meant for the registry that is published to: a base image may be at another one.
    pub fn for_reading(&self) -> Self {
        Self { logins: Vec::new(), token: None, user: None, token_command: None, ..self.clone() }
    }

    /// What the first source that knows the repository has for it; [`Credentials::Anonymous`] if none does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credentials`](crate::ErrorKind::Credentials) when a source that is meant for this registry cannot be used, and
    /// [`ErrorKind::EmptyToken`](crate::ErrorKind::EmptyToken) when the token command gives none.
    pub async fn find(&self, repository: &Repository) -> Result<Credentials, Error> {
        let basic =
            |user: &str, password: &Secret| Credentials::Basic { user: user.to_owned(), password: password.clone() };
        let of_host = |logins: &[HostCredentials]| {
            let known = |entry: &&HostCredentials| entry.host.eq_ignore_ascii_case(repository.host());
            let entry = logins.iter().filter(known).find(|entry| !entry.password.is_empty())?;
            let user = if entry.user.is_empty() { default_user(repository) } else { entry.user.clone() };
            Some(basic(&user, &entry.password))
        };
        if let Some(login) = of_host(&self.logins) {
            return Ok(login);
        }
        let user = || self.user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| default_user(repository));
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            return Ok(basic(&user(), token));
        }
        if let Some(command) = &self.token_command {
            let token = command::token(command).await.map_err(|reason| {
                let source_name = format!("the token command {:?}", command.first().map_or("", String::as_str));
                Error::new(ErrorKind::EmptyToken, repository.host(), source_name, reason)
            })?;
            return Ok(basic(&user(), &token));
        }
        let files = self.auth_files.iter().map(|file| (file.display().to_string(), auth_file::read(file)));
        let text = self.auth_config.as_ref().filter(|text| !text.is_empty());
        let text =
            text.map(|text| ("DOCKER_AUTH_CONFIG".to_owned(), auth_file::parse(text.expose().as_bytes()).map(Some)));
        for (name, file) in files.chain(text) {
            let found = file
                .and_then(|file| file.map(|file| file.entry(repository)).transpose())
                .map_err(|reason| bad(repository, &name, reason))?;
            if let Some(found) = auth_file::open(found.flatten(), repository, self.path.as_deref(), &name).await? {
                return Ok(found);
            }
        }
        Ok(of_host(&self.ci).unwrap_or(Credentials::Anonymous))
    }
}

fn bad(repository: &Repository, source_name: &str, reason: String) -> Error {
    Error::new(ErrorKind::Credentials, repository.host(), source_name, reason)
}

/// The name that goes with a token.
fn default_user(repository: &Repository) -> String {
    let host = repository.host();
    let fixed = if host.ends_with(".amazonaws.com") {
        "AWS"
    } else if host.ends_with("-docker.pkg.dev") || host == "gcr.io" || host.ends_with(".gcr.io") {
        "oauth2accesstoken"
    } else {
        repository.path().split('/').next().unwrap_or_default()
    };
    fixed.to_owned()
}

#[cfg(test)]
mod tests;
