//! Connections: TLS, proxies, and where requests may go.

mod guard;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use pixi_oci_net::ProxyRules;
use pixi_oci_platform::Links;
use reqwest::{Certificate, Client, Identity, Proxy, Url, redirect};

use self::guard::GuardedResolver;
pub(crate) use self::guard::Private;
use crate::{
    credentials::Secrets,
    error::{Error, ErrorKind},
    error_body::sanitise,
    options::RegistryOptions,
    repository::Repository,
};

/// Unused connections are closed before registries close them on us.
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("pixi-oci/", env!("CARGO_PKG_VERSION"));
const MAX_PEM: u64 = 16 << 20;

/// The connections of one registry: to itself, and to the hosts to which it sends us.
#[derive(Debug)]
pub(crate) struct Http {
    /// `HOST[:PORT]` of the registry's API.
    host: String,
    /// `http` or `https`; for registries of the own machine it is known when one has answered.
    scheme: OnceLock<&'static str>,
    options: RegistryOptions,
    proxies: ProxyRules,
    authorities: Vec<Certificate>,
    clients: Mutex<HashMap<String, Client>>,
}

impl Http {
    pub(crate) fn new(repository: &Repository, options: &RegistryOptions) -> Result<Self, Error> {
        let authorities = match &options.ca_file {
            Some(file) => {
                let pem = read(file)?;
                let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|list| !list.is_empty());
                certificates.ok_or_else(|| bad_pem(file, "it has no PEM certificate"))?
            }
            None => Vec::new(),
        };
        let scheme = OnceLock::new();
        let named = options.insecure_hosts.contains(repository.host());
        if named || !is_loopback(repository.api_host()) {
            let _ = scheme.set(if named { "http" } else { "https" });
        }
        Ok(Self {
            host: repository.api_host().to_owned(),
            scheme,
            options: options.clone(),
            proxies: options.proxies.rules().map_err(|error| Error::setting("a proxy", error.to_string()))?,
            authorities,
            clients: Mutex::default(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The schemes that the registry may have, in the order in which they are tried.
    pub(crate) fn schemes(&self) -> &[&'static str] {
        // Registries of the own machine mostly have no certificate. Only a question without credentials is asked before
        // it is known, and both ends are here.
        self.scheme.get().map_or(&["http", "https"], std::slice::from_ref)
    }

    /// Keeps the scheme with which the registry answered.
    pub(crate) fn set_scheme(&self, scheme: &'static str) {
        let _ = self.scheme.set(scheme);
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{scheme}://{}{path}", self.host))
            .map_err(|error| Error::setting(format!("the registry {:?}", self.host), error.to_string()))
    }

    /// The scheme that the registry has; TLS as long as it is not known.
    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme.get().copied().unwrap_or("https")
    }

    /// Whether a URL is the registry's own: same scheme, host and port. Only there the credentials go.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.schemes().contains(&url.scheme())
            && Url::parse(&format!("{}://{}", url.scheme(), self.host)).is_ok_and(|own| own.origin() == url.origin())
    }

    /// Refuses to go where a registry must not send us. `what` would go there.
    pub(crate) async fn check(&self, url: &Url, what: &str) -> Result<(), Error> {
        if self.is_own(url) {
            return Ok(());
        }
        let refuse = |reason: &str| {
            let what = format!("{what} to {}://{}", url.scheme(), url.host_str().unwrap_or_default());
            Err(Error::new(ErrorKind::Forbidden, self.host.clone(), what, reason))
        };
        match url.scheme() {
            "https" => {}
            "http" if self.scheme() == "http" => {}
            "http" => return refuse("the registry itself uses TLS"),
            _ => return refuse("only https and http are followed"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("the URL has credentials in it");
        }
        // Names are checked when they are resolved.
        let address = match url.host() {
            Some(url::Host::Ipv4(address)) => address.into(),
            Some(url::Host::Ipv6(address)) => address.into(),
            Some(url::Host::Domain(_)) => return Ok(()),
            None => return refuse("it has no host"),
        };
        match GuardedResolver::check(&self.name_and_port(), &[address]).await {
            Ok(()) => Ok(()),
            Err(private) => refuse(&private.to_string()),
        }
    }

    /// The connections to the host of a URL that was [checked](Self::check).
    pub(crate) fn client(&self, url: &Url) -> Result<Client, Error> {
        let key = url.origin().ascii_serialization();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.connect(url)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn connect(&self, url: &Url) -> Result<Client, Error> {
        let proxies = self.proxies.clone();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            // Large bodies hang over HTTP/2 (hyper#1813, h2#867); containers/image uses 1.1 only as well.
            .http1_only()
            // Redirects are followed by us, who know where credentials may go (reqwest#3034).
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Bytes are hashed as they are sent.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .pool_idle_timeout(IDLE)
            .connect_timeout(self.options.connect_timeout)
            .proxy(Proxy::custom(move |url| proxies.for_url(url)));
        let own = self.is_own(url);
        if !own {
            let resolver = GuardedResolver { registry: self.name_and_port(), exempt: self.proxies.hosts() };
            builder = builder.dns_resolver(Arc::new(resolver));
        }
        let mut authorities = self.authorities.clone();
        for dir in &self.options.cert_dirs {
            let host = if own { self.host.clone() } else { authority(url) };
            let found = HostCertificates::read(&dir.join(host))?;
            authorities.extend(found.authorities);
            if let Some(identity) = found.identity {
                builder = builder.identity(identity);
            }
        }
        // The system's certificates take long to read, and are needed for TLS only, be it with a proxy.
        let is_plain = url.scheme() == "http" && self.proxies.for_url(url).is_none();
        let builder = if is_plain { builder.tls_certs_only(authorities) } else { builder.tls_certs_merge(authorities) };
        builder.build().map_err(|error| {
            Error::setting("the system's certificates", chain(&error))
                .with_hint("install them (apt install ca-certificates)")
        })
    }

    fn name_and_port(&self) -> (String, u16) {
        let url = Url::parse(&format!("{}://{}", self.scheme(), self.host)).ok();
        let name = url.as_ref().and_then(Url::host_str).unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (name, url.and_then(|url| url.port_or_known_default()).unwrap_or_default())
    }
}

/// What is configured for one registry (containers-certs.d(5)): `*.crt` are authorities, `X.cert` and `X.key` are us.
#[derive(Default)]
struct HostCertificates {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl HostCertificates {
    fn read(dir: &Path) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut files: Vec<PathBuf> = match fs::read_dir(dir) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(found);
            }
            Err(source) => return Err(Error::read(dir, source)),
        };
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let list = Certificate::from_pem_bundle(&read(&file)?);
                    found.authorities.extend(list.map_err(|_| bad_pem(&file, "it has no PEM certificate"))?);
                }
                Some("cert") => {
                    let key = file.with_extension("key");
                    let mut pem = read(&file)?;
                    pem.push(b'\n');
                    pem.extend(read(&key)?);
                    // Its own error could repeat a part of the key.
                    found.identity = Some(
                        Identity::from_pem(&pem).map_err(|_| bad_pem(&key, "it is no PEM key for the .cert file"))?,
                    );
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    pixi_oci_platform::read(path, Links::Follow, MAX_PEM).map_err(|source| Error::read(path, source))
}

fn bad_pem(path: &Path, reason: &str) -> Error {
    Error::setting(path.display().to_string(), reason)
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `localhost`, `127.0.0.1:5000`, `[::1]:5000`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What an error has below it, from the top down.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// What ended a connection, if it was one of our own errors.
pub(crate) fn cause_of<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error with its causes on one line. URLs are left out: their queries may sign requests.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let text = causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if text.is_empty() && error.is_timeout() {
        return "it takes too long".into();
    }
    sanitise(if text.is_empty() { "the connection failed" } else { &text }, &Secrets::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_machine_may_be_without_certificates() {
        for own in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["localhost.example.org", "10.0.0.1:5000", "128.0.0.1", "ghcr.io", "[::2]:5000", ""] {
            assert!(!is_loopback(other), "{other}");
        }
        let http = |host: &str, insecure: &[&str]| {
            let options = RegistryOptions {
                insecure_hosts: insecure.iter().map(|host| (*host).to_owned()).collect(),
                ..Default::default()
            };
            Http::new(&Repository::new(host, "a").unwrap(), &options).unwrap()
        };
        assert_eq!(http("r.io", &[]).schemes(), ["https"]);
        assert_eq!(http("r.io", &["x.io"]).schemes(), ["https"]);
        assert_eq!(http("r.io:80", &["r.io:80"]).schemes(), ["http"]);
        assert_eq!(http("localhost:80", &[]).schemes(), ["http", "https"]);
    }

    #[tokio::test]
    async fn cve_2026_50151_only_the_registry_itself_is_the_registry() {
        let http = Http::new(&Repository::new("r.io:5000", "a").unwrap(), &RegistryOptions::default()).unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(http.is_own(&url("https://r.io:5000/x")));
        for other in [
            "http://r.io:5000/x",
            "https://r.io/x",
            "https://r.io:5001/",
            "https://r.io.evil.org:5000/",
            "https://r.io:5000@evil.org/",
        ] {
            assert!(!http.is_own(&url(other)), "{other}");
        }
        for (bad, reason) in [
            ("http://s3.org/x", "TLS"),
            ("ftp://s3.org/x", "only https"),
            ("file:///etc/passwd", "only https"),
            ("javascript:alert(1)", "only https"),
            ("https://u:p@s3.org/x", "credentials"),
            ("https://127.0.0.1/x", "this machine"),
            ("https://2130706433/x", "this machine"),
            ("https://[::ffff:169.254.169.254]/latest", "metadata"),
        ] {
            let error = http.check(&url(bad), "a blob").await.unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        http.check(&url("https://s3.org/x?sig=1"), "a blob").await.unwrap();
    }
}
