//! Pixi's own configuration (`config.toml`): what of it concerns where packages come from.
//!
//! Places, keys, their old spellings and how files are merged are pixi's (its crate `pixi_config`, 0.77). Keys that are
//! not ours are pixi's business and are ignored; a key of ours with a value of another type is an error with its place,
//! because a mirror or proxy that is silently not used is found out about much later.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

use url::Url;

use pixi_oci_net::{S3Bucket, TlsRootCerts};

mod client;
mod places;
mod read;

pub use places::ConfigPlaces;
pub(crate) use read::buckets;

/// What pixi's configuration says. `None` and empty mean that it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PixiConfig {
    /// `default-channels`: names and URLs, for workspaces that name none.
    pub default_channels: Vec<String>,
    /// `authentication-override-file`, as written.
    pub authentication_override_file: Option<PathBuf>,
    pub tls_no_verify: Option<bool>,
    pub tls_root_certs: Option<TlsRootCerts>,
    pub offline: Option<bool>,
    /// `mirrors`: URL prefixes, each ending in a slash, and what is asked in their place.
    pub mirrors: BTreeMap<Url, Vec<Url>>,
    pub proxy: ProxyConfig,
    /// `s3-options`, by bucket.
    pub s3: BTreeMap<String, S3Bucket>,
    /// `concurrency.downloads`
    pub concurrent_downloads: Option<NonZeroUsize>,
    /// `concurrency.solves`
    pub concurrent_solves: Option<NonZeroUsize>,
    pub pypi: PypiConfig,
    pub repodata: RepodataConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    pub http: Option<Url>,
    pub https: Option<Url>,
    /// Who is asked directly.
    pub non_proxy_hosts: Vec<String>,
}

/// `pypi-config`, as far as it concerns where packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PypiConfig {
    pub index_url: Option<Url>,
    pub extra_index_urls: Vec<Url>,
    /// Hosts whose certificates are not checked, as `HOST` or `HOST:PORT`.
    pub allow_insecure_host: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepodataConfig {
    /// For channels that are not in `per_channel`.
    pub default: RepodataForms,
    /// By channel URL; what is `None` there is as in `default`.
    pub per_channel: BTreeMap<Url, RepodataForms>,
}

/// The forms of repodata that are not asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepodataForms {
    pub disable_bzip2: Option<bool>,
    pub disable_zstd: Option<bool>,
    pub disable_sharded: Option<bool>,
}

impl PixiConfig {
    /// This configuration over a less important one: single values replace, tables (`mirrors`, `s3-options`, channels of
    /// `repodata-config`) are merged by key, lists replace but for those of `pypi-config`, which are joined: as in pixi.
    pub fn over(self, lower: Self) -> Self {
        fn list<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
            if upper.is_empty() { lower } else { upper }
        }
        fn map<K: Ord, V>(upper: BTreeMap<K, V>, mut lower: BTreeMap<K, V>) -> BTreeMap<K, V> {
            lower.extend(upper);
            lower
        }
        let mut per_channel = lower.repodata.per_channel;
        for (channel, forms) in self.repodata.per_channel {
            let below = per_channel.get(&channel).copied().unwrap_or_default();
            per_channel.insert(channel, forms.over(below));
        }
        Self {
            default_channels: list(self.default_channels, lower.default_channels),
            authentication_override_file: self.authentication_override_file.or(lower.authentication_override_file),
            tls_no_verify: self.tls_no_verify.or(lower.tls_no_verify),
            tls_root_certs: self.tls_root_certs.or(lower.tls_root_certs),
            offline: self.offline.or(lower.offline),
            mirrors: map(self.mirrors, lower.mirrors),
            proxy: self.proxy.over(lower.proxy),
            s3: map(self.s3, lower.s3),
            concurrent_downloads: self.concurrent_downloads.or(lower.concurrent_downloads),
            concurrent_solves: self.concurrent_solves.or(lower.concurrent_solves),
            pypi: PypiConfig {
                index_url: self.pypi.index_url.or(lower.pypi.index_url),
                extra_index_urls: [lower.pypi.extra_index_urls, self.pypi.extra_index_urls].concat(),
                allow_insecure_host: [lower.pypi.allow_insecure_host, self.pypi.allow_insecure_host].concat(),
            },
            repodata: RepodataConfig { default: self.repodata.default.over(lower.repodata.default), per_channel },
        }
    }
}

impl ProxyConfig {
    /// The hosts belong to the proxies: who names a proxy says anew who is asked directly.
    fn over(self, lower: Self) -> Self {
        let direct = if self == Self::default() { lower.non_proxy_hosts } else { self.non_proxy_hosts };
        Self { http: self.http.or(lower.http), https: self.https.or(lower.https), non_proxy_hosts: direct }
    }
}

impl RepodataForms {
    /// These, and where they say nothing, those.
    pub fn over(self, lower: Self) -> Self {
        Self {
            disable_bzip2: self.disable_bzip2.or(lower.disable_bzip2),
            disable_zstd: self.disable_zstd.or(lower.disable_zstd),
            disable_sharded: self.disable_sharded.or(lower.disable_sharded),
        }
    }
}

#[cfg(test)]
mod tests;
