//! Which requests go through a proxy: the rules of curl's environment variables.

use std::net::IpAddr;

use url::Url;

use crate::Error;

/// The way through proxies, as the environment or a configuration names them. This machine itself is always asked directly.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// What is asked directly: `*`, or names, `.suffixes`, addresses and networks (`10.0.0.0/8`), each perhaps with `:PORT`.
    pub direct: Vec<String>,
}

impl std::fmt::Debug for Proxies {
    /// Without the proxies' URLs, which may have passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("direct", &self.direct)
            .finish()
    }
}

#[derive(Clone)]
pub struct ProxyRules {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<String>,
}

impl std::fmt::Debug for ProxyRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRules").field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl Proxies {
    /// The parts of a `NO_PROXY`.
    pub fn split_direct(text: &str) -> Vec<String> {
        text.split([',', ' ']).filter(|rule| !rule.is_empty()).map(str::to_owned).collect()
    }

    /// Reads the addresses.
    ///
    /// # Errors
    ///
    /// One that is not the URL of an HTTP proxy: silently going around it could be forbidden.
    pub fn rules(&self) -> Result<ProxyRules, Error> {
        let parse = |scheme: &str, text: &Option<String>| {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
            let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
            let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            // Its text may have a password.
            let message = format!("the proxy for {scheme} is not the URL of an HTTP proxy, http://HOST:PORT");
            url.map(Some).ok_or(Error::Client { message })
        };
        Ok(ProxyRules {
            http: parse("http", &self.http)?,
            https: parse("https", &self.https)?,
            direct: self.direct.iter().map(|rule| rule.trim().to_ascii_lowercase()).collect(),
        })
    }
}

impl ProxyRules {
    /// The proxy for a URL. The own machine is never reached through one.
    pub fn for_url(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let proxy = proxy.as_ref()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = url.port_or_known_default()?;
        let address = host.parse::<IpAddr>().ok();
        let local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let excepted = self.direct.iter().any(|rule| matches(rule, &host, port, address));
        (!local && !excepted).then(|| proxy.clone())
    }

    pub fn hosts(&self) -> Vec<String> {
        [&self.http, &self.https].into_iter().flatten().filter_map(Url::host_str).map(str::to_owned).collect()
    }
}

/// Whether a part of `NO_PROXY` means this host.
fn matches(rule: &str, host: &str, port: u16, address: Option<IpAddr>) -> bool {
    if rule == "*" {
        return true;
    }
    if let Some(address) = address {
        if let Some((network, bits)) = rule.split_once('/') {
            let network = network.parse::<IpAddr>().ok();
            return bits.parse().ok().zip(network).is_some_and(|(bits, network)| in_block(address, network, bits));
        }
        if rule.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(address) {
            return true;
        }
    }
    let (name, rule_port) = match rule.rsplit_once(':') {
        Some((name, text)) => match text.parse::<u16>() {
            Ok(number) => (name, Some(number)),
            Err(_) => (rule, None),
        },
        None => (rule, None),
    };
    if rule_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
    !name.is_empty() && (host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')))
}

fn in_block(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_curl_and_go_read_it() {
        let proxies = Proxies {
            http: Some("proxy.example.org:3128".into()),
            https: Some("http://user:pw@proxy2:8080".into()),
            direct: Proxies::split_direct("internal.example.org,.corp,10.0.0.0/8, 192.168.1.7 ,port.io:5000,*.wild.io"),
        };
        let rules = proxies.rules().unwrap();
        let direct = |url: &str| rules.for_url(&Url::parse(url).unwrap()).is_none();
        for url in [
            "https://internal.example.org/v2/",
            "https://a.internal.example.org",
            "https://git.corp",
            "http://10.1.2.3:5000",
            "https://192.168.1.7",
            "https://port.io:5000",
            "https://x.wild.io",
            "http://localhost:5000",
            "http://127.0.0.1",
            "http://[::1]:5000",
        ] {
            assert!(direct(url), "{url}");
        }
        for url in [
            "https://ghcr.io",
            "https://notinternal.example.org.evil",
            "https://xcorp",
            "http://11.0.0.1",
            "https://port.io",
        ] {
            assert!(!direct(url), "{url}");
        }
        assert_eq!(
            rules.for_url(&Url::parse("http://a.io").unwrap()).unwrap().as_str(),
            "http://proxy.example.org:3128/"
        );
        assert_eq!(rules.hosts(), ["proxy.example.org", "proxy2"]);
        let all = Proxies { direct: vec!["*".into()], ..proxies }.rules().unwrap();
        assert!(all.for_url(&Url::parse("https://ghcr.io").unwrap()).is_none());
        let bad = Proxies { https: Some("socks5://user:secret@x".into()), ..Proxies::default() };
        let error = bad.rules().unwrap_err().to_string();
        assert!(error.contains("proxy for https") && !error.contains("secret"), "{error}");
        assert!(!format!("{bad:?}").contains("secret"));
    }
}
