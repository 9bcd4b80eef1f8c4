//! How registries are reached.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use pixi_oci_net::Proxies;

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
    pub proxies: Proxies,
    pub connect_timeout: Duration,
    /// How long nothing at all may happen: no byte sent and none received.
    pub progress_timeout: Duration,
    /// How long all waiting between attempts may take together.
    pub retry_budget: Duration,
    /// For registries behind a proxy that limits the size of a request: upload in pieces of so many bytes. By default,
    /// a blob is one request, which is the only form that every registry takes.
    pub chunk_size: Option<u64>,
    /// For registries that lose blobs: ask for every one. Else those that a manifest names which is there already are
    /// believed to be there, too.
    pub check_blobs: bool,
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
            check_blobs: false,
        }
    }
}

/// What is needed to use whichever registry turns up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    pub options: RegistryOptions,
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
