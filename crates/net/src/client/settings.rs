//! Everything the HTTP client depends on, as plain data: whoever reads the environment fills it in.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use url::Url;

use crate::Proxies;

/// How to reach the hosts that packages come from. The default is no credentials, no mirrors and no proxy.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Files with logins, the first that knows a host counts.
    pub credentials: CredentialFiles,
    /// URL prefixes, and the prefixes that are asked in their place. Records keep the original.
    pub mirrors: BTreeMap<Url, Vec<Url>>,
    pub proxies: Proxies,
    pub tls: Tls,
    pub s3: S3Settings,
    pub offline: bool,
    pub patience: Patience,
    /// Tells the time, for signatures of S3 requests.
    pub now: fn() -> SystemTime,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// Files in rattler's JSON form, the most important first. One that is not there is empty.
    pub rattler: Vec<PathBuf>,
    /// A netrc file; one that is not there is empty.
    pub netrc: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    pub roots: TlsRootCerts,
    /// Files, and directories of files, with certificates in PEM form that are the only roots, if there are any
    /// (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
    pub files: Vec<PathBuf>,
    /// Trust everybody.
    pub no_verify: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// Buckets by name; their keys are logins for `s3://BUCKET`.
    pub buckets: BTreeMap<String, S3Bucket>,
    /// What the `AWS_*` variables say, for all other buckets.
    pub environment: S3Environment,
}

/// The `AWS_*` variables that count.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Environment {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Option<String>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<String>,
    /// `AWS_REGION`, else `AWS_DEFAULT_REGION`
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`
    pub endpoint_url: Option<Url>,
}

/// When to give up waiting for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    pub silence: Duration,
    /// In each such span of time at least [`Self::LEAST`] bytes must move; a server that keeps a connection alive with a
    /// byte now and then is given up.
    pub window: Duration,
}

impl Patience {
    pub const LEAST: u64 = 16 << 10;
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), silence: Duration::from_secs(60), window: Duration::from_secs(60) }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            credentials: CredentialFiles::default(),
            mirrors: BTreeMap::new(),
            proxies: Proxies::default(),
            tls: Tls::default(),
            s3: S3Settings::default(),
            offline: false,
            patience: Patience::default(),
            now: || SystemTime::UNIX_EPOCH,
        }
    }
}

/// Without the secrets.
impl std::fmt::Debug for S3Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Environment")
            .field("region", &self.region)
            .field("has_key", &self.access_key_id.is_some())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsRootCerts {
    /// This machine's.
    #[default]
    System,
    /// Mozilla's, as they were when this program was made.
    Webpki,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Bucket {
    pub endpoint_url: Url,
    pub region: String,
    /// Whether the bucket is a part of the path, and not of the host name.
    pub path_style: bool,
}

impl std::str::FromStr for TlsRootCerts {
    type Err = ();

    /// Pixi's names, the old ones too.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "system" | "native" | "all" => Ok(Self::System),
            "webpki" => Ok(Self::Webpki),
            _ => Err(()),
        }
    }
}
