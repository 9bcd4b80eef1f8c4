//! How registries are reached.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use crate::credentials::CredentialSources;

/// How registries are reached. Plain data: the command line reads the environment and fills it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryOptions {
    /// A PEM file with certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Directories with a `HOST[:PORT]/` of `*.crt`, `*.cert` and `*.key` for each registry (containers-certs.d(5)).
    /// Missing ones are skipped.
    pub cert_dirs: Vec<PathBuf>,
    /// Registries, as `HOST` or `HOST:PORT`, that speak plain HTTP. Those of the own machine may without being named.
    pub insecure_hosts: BTreeSet<String>,
    /// The way through proxies.
    pub proxies: Proxies,
    /// For a connection.
    pub connect_timeout: Duration,
    /// How long nothing at all may happen: no byte sent and none received.
    pub progress_timeout: Duration,
    /// How long all waiting between attempts may take together.
    pub retry_budget: Duration,
    /// For registries behind a proxy that limits the size of a request: upload in pieces of so many bytes. By default,
    /// a blob is one request, which is the only form that every registry takes.
    pub chunk_size: Option<u64>,
}

/// The way through proxies, in the words of curl's environment variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `http_proxy`: for plain HTTP.
    pub http: Option<String>,
    /// `HTTPS_PROXY`: for TLS.
    pub https: Option<String>,
    /// `NO_PROXY`: `*`, or names, `.suffixes`, addresses and CIDR blocks, each perhaps with `:PORT`, with commas between.
    pub no_proxy: String,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            cert_dirs: Vec::new(),
            insecure_hosts: BTreeSet::new(),
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(60),
            retry_budget: Duration::from_secs(300),
            chunk_size: None,
        }
    }
}

impl std::fmt::Debug for Proxies {
    /// Without the proxies' URLs, which may have passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// What is needed to use whichever registry turns up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// How registries are reached.
    pub options: RegistryOptions,
    /// Where credentials are looked for.
    pub credentials: CredentialSources,
}

/// What is to be done at a registry, which decides what a token has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading. Credentials are not needed for what is public.
    Pull,
    /// Reading and writing. Without credentials, a registry that wants some is [`ErrorKind::EmptyToken`](crate::ErrorKind::EmptyToken).
    Push,
}
