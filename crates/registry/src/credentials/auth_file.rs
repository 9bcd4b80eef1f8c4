//! The files of podman and docker (containers-auth.json(5)), and the helpers that they name.

use std::{collections::BTreeMap, ffi::OsStr, io::Read, path::Path};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pixi_oci_platform::Links;
use serde::Deserialize;

use crate::credentials::{Credentials, Error, Repository, Secret, bad, command};

const MAX_FILE: u64 = 1 << 20;

/// RFC 4648 §4, with or without padding: podman and docker differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthFile {
    auths: Option<BTreeMap<String, Login>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum StoredLogin {
    /// In the file itself.
    Found(Credentials),
    /// With a program. `only` when it is configured for just this registry.
    Helper { name: String, server: String, only: bool },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Reads a file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<AuthFile>, String> {
    let file = match pixi_oci_platform::open(path, Links::Follow) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("it is larger than a file of credentials".into());
    }
    parse(&bytes).map(Some)
}

pub(super) fn parse(bytes: &[u8]) -> Result<AuthFile, String> {
    // podman makes an empty file for a first login. serde's own message could repeat a part of the file.
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|_| "it is not JSON of the right form".to_owned())
}

impl AuthFile {
    /// What there is for a repository: the helper of its registry, the entry of the longest part of its name, the
    /// helper of all registries.
    pub(super) fn entry(mut self, repository: &Repository) -> Result<Option<StoredLogin>, String> {
        let host = repository.host();
        for key in keys(host) {
            let helper = self.cred_helpers.as_ref().and_then(|helpers| helpers.get(&key));
            if let Some(name) = helper.filter(|name| !name.is_empty()) {
                return Ok(Some(StoredLogin::Helper { name: name.clone(), server: server(host), only: true }));
            }
        }
        if let Some(login) = best(self.auths.take().unwrap_or_default(), repository)
            && let Some(found) = login.credentials()?
        {
            return Ok(Some(StoredLogin::Found(found)));
        }
        let store = self.creds_store.filter(|name| !name.is_empty());
        Ok(store.map(|name| StoredLogin::Helper { name, server: server(host), only: false }))
    }
}

impl Login {
    /// `None` for the empty entries that docker leaves when a helper keeps the secret.
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(Secret::new(&self.identitytoken))));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let text = BASE64.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':')) {
            Some((user, password)) => Ok(Some(basic(user, password))),
            None => Err("its `auth` is not the base64 of USER:PASSWORD".into()),
        }
    }
}

/// Asks the helper, if there is one to ask. `path` is where it is looked for.
pub(super) async fn open(
    entry: Option<StoredLogin>,
    repository: &Repository,
    path: Option<&OsStr>,
    source_name: &str,
) -> Result<Option<Credentials>, Error> {
    let (name, server, only) = match entry {
        None => return Ok(None),
        Some(StoredLogin::Found(found)) => return Ok(Some(found)),
        Some(StoredLogin::Helper { name, server, only }) => (name, server, only),
    };
    let source_name = format!("docker-credential-{name}, which {source_name} names,");
    let failed = |reason: &str| bad(repository, &source_name, reason.to_owned());
    let output = command::helper(&name, path, &server).await.map_err(|reason| failed(&reason))?;
    if !output.status.success() {
        // The one message of the protocol: the helper works and has nothing. It is no error, except where it is the
        // only place that is configured for the registry.
        let nothing = String::from_utf8_lossy(&output.stdout).contains("credentials not found");
        return if nothing && !only { Ok(None) } else { Err(failed("it has none, or failed; log in again")) };
    }
    // What it printed is never repeated.
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("it does not print credentials"))?;
    if answer.secret.is_empty() {
        return Err(failed("its secret is empty"));
    }
    Ok(Some(match answer.username.as_str() {
        // The protocol's mark for identity tokens.
        "<token>" => Credentials::IdentityToken(Secret::new(answer.secret)),
        user => basic(user, &answer.secret),
    }))
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: Secret::new(password) }
}

/// The entry of the longest part of the repository's name. Entries of other registries never count (CVE-2021-41092).
fn best(mut logins: BTreeMap<String, Login>, repository: &Repository) -> Option<Login> {
    let full = repository.to_string();
    let mut name = full.as_str();
    while let Some((shorter, _)) = name.rsplit_once('/') {
        if let Some(login) = logins.remove(name) {
            return Some(login);
        }
        name = shorter;
    }
    keys(repository.host()).into_iter().find_map(|key| logins.remove(&key))
}

/// How a host is written in these files. docker writes URLs, and Docker Hub's is that of its first API.
fn keys(host: &str) -> Vec<String> {
    let mut keys = vec![host.to_owned()];
    let names: &[&str] = if host == "docker.io" { &["docker.io", "index.docker.io"] } else { &[host] };
    for name in names {
        for url in ["https://{}/v1/", "https://{}/v2/", "https://{}/", "https://{}", "http://{}", "http://{}/", "{}"] {
            keys.push(url.replace("{}", name));
        }
    }
    keys
}

/// What helpers are asked for.
fn server(host: &str) -> String {
    match host {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        host => host.to_owned(),
    }
}
