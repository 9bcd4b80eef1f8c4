//! HTTP as everything here speaks it: proxies, roots of trust, logins, mirrors, retries; and URLs without credentials.
//!
//! Settings come in as [`ClientSettings`]; the environment is not read here.

mod client;
mod error;
mod proxy;
mod rate;
mod redact;
mod retry;

pub use client::{
    Client, ClientSettings, CredentialFiles, Patience, S3Bucket, S3Environment, S3Settings, Tls, TlsRootCerts, cause,
};
pub use error::Error;
pub use proxy::{Proxies, ProxyRules};
pub use rate::LeastRate;
pub use redact::{
    canonical_channel, canonical_url, mask_user_info, redact, redact_text, without_credentials, without_logins,
};
pub use retry::{RetryPolicy, http_date, retry_after};
