//! Pixi's configuration as settings of the HTTP client.

use pixi_oci_net::{ClientSettings, CredentialFiles, Proxies, S3Environment, S3Settings, Tls};

use crate::PixiConfig;

impl PixiConfig {
    /// What it says about reaching hosts; credentials of other places, proxies of the environment and the clock are added by
    /// the caller.
    pub fn client_settings(&self) -> ClientSettings {
        ClientSettings {
            credentials: CredentialFiles {
                rattler: self.authentication_override_file.iter().cloned().collect(),
                netrc: None,
            },
            mirrors: self.mirrors.clone(),
            proxies: Proxies {
                http: self.proxy.http.as_ref().map(ToString::to_string),
                https: self.proxy.https.as_ref().map(ToString::to_string),
                direct: self.proxy.non_proxy_hosts.clone(),
            },
            tls: Tls {
                roots: self.tls_root_certs.unwrap_or_default(),
                files: Vec::new(),
                no_verify: self.tls_no_verify.unwrap_or(false),
            },
            s3: S3Settings { buckets: self.s3.clone(), environment: S3Environment::default() },
            offline: self.offline.unwrap_or(false),
            ..ClientSettings::default()
        }
    }
}
