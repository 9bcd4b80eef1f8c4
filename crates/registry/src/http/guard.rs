//! Where a registry may send us: not to services that only this machine can reach.
//!
//! A registry names the host of its token service and of its storage. A hostile one would name `127.0.0.1`, or the
//! address at which a cloud gives its machines their credentials (CVE-2026-48978, CVE-2026-33990). Names are checked
//! by the addresses that the connection then uses, so that a name server cannot answer differently the second time.

use std::{fmt, net::IpAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Addresses that mean something else on each machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Private {
    Loopback,
    /// This network cable, and the metadata services of clouds.
    Link,
    /// Nobody, or many.
    Nobody,
}

impl fmt::Display for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "it is an address of this machine",
            Self::Link => "it is a link-local address or a metadata service",
            Self::Nobody => "it is no address of a host",
        })
    }
}

impl std::error::Error for Private {}

impl Private {
    /// What is special about an address, if anything is. Addresses of company networks are ordinary: their token
    /// services are there.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let link = match address {
            // Azure's and Alibaba's metadata services have addresses of no special range.
            IpAddr::V4(v4) => v4.is_link_local() || matches!(v4.octets(), [168, 63, 129, 16] | [100, 100, 100, 200]),
            // fe80::/10 and AWS' fd00:ec2::/32.
            IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80 || v6.segments()[..2] == [0xfd00, 0x0ec2],
        };
        let nobody = match address {
            IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_multicast(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
        };
        if address.is_loopback() {
            Some(Self::Loopback)
        } else if link {
            Some(Self::Link)
        } else if nobody {
            Some(Self::Nobody)
        } else {
            None
        }
    }
}

/// Resolves the names of hosts that a registry sends us to.
#[derive(Debug)]
pub(crate) struct GuardedResolver {
    /// The registry's own name and port: where it is, others may be.
    pub(crate) registry: (String, u16),
    /// Proxies, which the user named and not the registry.
    pub(crate) exempt: Vec<String>,
}

impl GuardedResolver {
    /// Refuses addresses, unless the registry itself has one of the same kind.
    pub(crate) async fn check(registry: &(String, u16), addresses: &[IpAddr]) -> Result<(), Private> {
        let Some(private) = addresses.iter().find_map(|address| Private::of(*address)) else { return Ok(()) };
        let own = tokio::net::lookup_host((registry.0.as_str(), registry.1)).await;
        let own: Vec<_> = own.into_iter().flatten().map(|address| Private::of(address.ip())).collect();
        let allowed = |address: &IpAddr| Private::of(*address).is_none_or(|private| own.contains(&Some(private)));
        if addresses.iter().all(allowed) { Ok(()) } else { Err(private) }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let registry = self.registry.clone();
        let exempt = self.exempt.contains(&name);
        Box::pin(async move {
            let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !exempt {
                let ips: Vec<_> = addresses.iter().map(|address| address.ip()).collect();
                Self::check(&registry, &ips).await?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_clouds_are_known_in_every_form() {
        for (text, kind) in [
            ("127.0.0.1", Some(Private::Loopback)),
            ("127.8.8.8", Some(Private::Loopback)),
            ("::1", Some(Private::Loopback)),
            ("::ffff:127.0.0.1", Some(Private::Loopback)),
            ("169.254.169.254", Some(Private::Link)),
            ("::ffff:169.254.169.254", Some(Private::Link)),
            ("fe80::1", Some(Private::Link)),
            ("fd00:ec2::254", Some(Private::Link)),
            ("168.63.129.16", Some(Private::Link)),
            ("100.100.100.200", Some(Private::Link)),
            ("0.0.0.0", Some(Private::Nobody)),
            ("0.1.2.3", Some(Private::Nobody)),
            ("::", Some(Private::Nobody)),
            ("255.255.255.255", Some(Private::Nobody)),
            ("224.0.0.1", Some(Private::Nobody)),
            ("ff02::1", Some(Private::Nobody)),
            ("10.0.0.1", None),
            ("192.168.1.1", None),
            ("fd12::1", None),
            ("140.82.121.33", None),
        ] {
            assert_eq!(Private::of(text.parse().unwrap()), kind, "{text}");
        }
    }

    #[tokio::test]
    async fn where_the_registry_is_others_may_be() {
        let local = ("localhost".to_owned(), 5000);
        let remote = ("192.0.2.1".to_owned(), 443);
        let check = |registry: &(String, u16), text: &str| {
            let (registry, addresses) = (registry.clone(), [text.parse().unwrap()]);
            async move { GuardedResolver::check(&registry, &addresses).await }
        };
        assert_eq!(check(&remote, "192.0.2.7").await, Ok(()));
        assert_eq!(check(&remote, "127.0.0.1").await, Err(Private::Loopback));
        assert_eq!(check(&local, "127.0.0.1").await, Ok(()));
        assert_eq!(check(&local, "169.254.169.254").await, Err(Private::Link));
    }

    #[tokio::test]
    async fn ggcr_2440_a_name_is_checked_by_the_address_that_is_used() {
        let registry = ("192.0.2.1".to_owned(), 443);
        let resolver = GuardedResolver { registry: registry.clone(), exempt: Vec::new() };
        let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.downcast_ref::<Private>().is_some(), "{error}");
        let resolver = GuardedResolver { registry, exempt: vec!["localhost".into()] };
        assert!(resolver.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
