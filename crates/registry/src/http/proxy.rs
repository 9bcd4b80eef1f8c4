//! Which requests go through a proxy: the rules of curl's environment variables.

use std::net::IpAddr;

use reqwest::Url;

use crate::{error::Error, options::Proxies};

/// The proxies, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct ProxyRules {
    http: Option<Url>,
    https: Option<Url>,
    no_proxy: Vec<String>,
}

impl ProxyRules {
    /// # Errors
    ///
    /// [`ErrorKind::Setting`](crate::ErrorKind::Setting) for a proxy that is no URL; silently going around it could be forbidden.
    pub(crate) fn new(proxies: &Proxies) -> Result<Self, Error> {
        let parse = |name: &str, text: &Option<String>| {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
            let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
            let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            // Its text may have a password.
            url.map(Some).ok_or_else(|| Error::setting(name, "it is not the URL of an HTTP proxy, http://HOST:PORT"))
        };
        Ok(Self {
            http: parse("http_proxy", &proxies.http)?,
            https: parse("HTTPS_PROXY", &proxies.https)?,
            no_proxy: proxies
                .no_proxy
                .split([',', ' '])
                .filter(|rule| !rule.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        })
    }

    /// The proxy for a URL. The own machine is never reached through one.
    pub(crate) fn for_url(&self, url: &Url) -> Option<Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let proxy = proxy.as_ref()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = url.port_or_known_default()?;
        let address = host.parse::<IpAddr>().ok();
        let local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let excepted = self.no_proxy.iter().any(|rule| matches(rule, &host, port, address));
        (!local && !excepted).then(|| proxy.clone())
    }

    /// The proxies' own names.
    pub(crate) fn hosts(&self) -> Vec<String> {
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
            no_proxy: "internal.example.org,.corp,10.0.0.0/8, 192.168.1.7 ,port.io:5000,*.wild.io".into(),
        };
        let rules = ProxyRules::new(&proxies).unwrap();
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
        let all = ProxyRules::new(&Proxies { no_proxy: "*".into(), ..proxies }).unwrap();
        assert!(all.for_url(&Url::parse("https://ghcr.io").unwrap()).is_none());
        let bad = Proxies { https: Some("socks5://user:secret@x".into()), ..Proxies::default() };
        let error = ProxyRules::new(&bad).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        assert!(!format!("{bad:?}").contains("secret"));
    }
}
