//! The values of `[tool.pixi-oci]` that are more than text.

mod include;
mod text;

pub use include::Include;
pub(super) use include::MODE;

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use self::text::{List, Text};
use crate::{VirtualPackage, split_plain};

/// A port, written `8080` or `53/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Not 0.
    pub number: u16,
    pub protocol: Protocol,
}

/// TCP where nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Port {
    /// As OCI's `ExposedPorts` has it, e.g. `8080/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// `gzip`, `zstd`, or either with a level: `gzip:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSetting {
    pub algorithm: CompressionAlgorithm,
    /// gzip 1 to 12, zstd 1 to 19. `None`: our default.
    pub level: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionAlgorithm {
    /// Understood by everything.
    Gzip,
    /// Smaller and faster, for readers of this decade.
    Zstd,
}

impl std::str::FromStr for CompressionSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "unknown compression `{text}`; expected `gzip` or `zstd`, or a level with it: `gzip:1` to `gzip:12`, `zstd:1` to `zstd:19`"
            )
        };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| error())?)),
            None => (text, None),
        };
        let (algorithm, highest) = match name {
            "gzip" => (CompressionAlgorithm::Gzip, 12),
            "zstd" => (CompressionAlgorithm::Zstd, 19),
            _ => return Err(error()),
        };
        if level.is_some_and(|level| !(1..=highest).contains(&level)) {
            return Err(error());
        }
        Ok(Self { algorithm, level })
    }
}

/// `{ username = "me", token = "env:NAME" }`. A token itself has no place in a file of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryLogin {
    pub username: Option<String>,
    #[serde(deserialize_with = "variable")]
    token: Option<String>,
}

impl RegistryLogin {
    pub fn token_variable(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

fn variable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| match text.strip_prefix("env:") {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("a token is written \"env:NAME\": the variable of the environment that has it".to_owned()),
    };
    from.deserialize_any(Text { expecting: "a string", numbers: false, parse }).map(Some)
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text { expecting: PORT, numbers: true, parse: port })
    }
}

const PORT: &str = "a port: a number from 1 to 65535, or text such as \"53/udp\"";

fn port(text: &str) -> Result<Port, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    };
    let number = number.parse().ok().filter(|number| *number > 0);
    number.zip(protocol).map(|(number, protocol)| Port { number, protocol }).ok_or(format!("expected {PORT}"))
}

impl<'de> Deserialize<'de> for CompressionSetting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text { expecting: "a string", numbers: false, parse: |text| text.parse() })
    }
}

pub(super) fn tag_prefix<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| {
        let ok = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let fits = text.len() <= 60 && !text.starts_with(['.', '-']) && text.chars().all(ok);
        let why =
            "a tag begins with a letter, digit or `_`, and goes on with these, `.` and `-`; at most 60 of them here";
        fits.then(|| text.to_owned()).ok_or(why.to_owned())
    };
    from.deserialize_any(Text { expecting: "a string", numbers: false, parse }).map(Some)
}

pub(super) fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| match text.strip_prefix('-') {
        Some(_) => Err("a user id cannot be negative".to_owned()),
        None => Ok(text.to_owned()),
    };
    from.deserialize_any(Text { expecting: "a user: NAME or UID, with :GROUP or :GID", numbers: true, parse }).map(Some)
}

pub(super) fn glibc<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(u32, u32)>, D::Error> {
    let parse = |text: &str| {
        let number = |part: &str| part.parse::<u32>().ok();
        let version = text.split_once('.').and_then(|(major, minor)| number(major).zip(number(minor)));
        version.ok_or("a version of glibc is written MAJOR.MINOR, e.g. \"2.36\"".to_owned())
    };
    from.deserialize_any(Text { expecting: "a string", numbers: false, parse }).map(Some)
}

const PATH: Text<String> = Text { expecting: "a string", numbers: false, parse: absolute_path };

fn absolute_path(path: &str) -> Result<String, String> {
    let clean = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
    if !clean || path.chars().any(char::is_control) {
        return Err(format!("`{}` is not an absolute path without `.` and `..`", path.escape_debug()));
    }
    Ok(path.to_owned())
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(PATH).map(Some)
}

pub(super) fn absolute_list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    from.deserialize_any(List(PATH)).map(Some)
}

pub(super) fn virtual_packages<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<VirtualPackage>>, D::Error> {
    let parse = |text: &str| text.parse().map_err(|error: crate::Error| error.to_string());
    from.deserialize_any(List(Text { expecting: "a string", numbers: false, parse })).map(Some)
}

/// A command as a list, or as a line that needs no shell.
pub(super) fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Argv;

    impl<'de> Visitor<'de> for Argv {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or a command line without shell syntax")
        }

        fn visit_str<E: Error>(self, line: &str) -> Result<Vec<String>, E> {
            split_plain(line).map_err(|why| {
                E::custom(format!("the command {why}; write it as a list, e.g. [\"sh\", \"-c\", \"…\"]"))
            })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Vec<String>, A::Error> {
            std::iter::from_fn(|| words.next_element().transpose()).collect()
        }
    }

    from.deserialize_any(Argv).map(Some)
}

/// Names and values, in their order.
pub(super) fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Variables;

    impl<'de> Visitor<'de> for Variables {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let parse = |name: &str| match name.is_empty() || name.contains(['=', '\0']) {
                true => Err(format!("`{}` cannot be the name of a variable", name.escape_debug())),
                false => Ok(name.to_owned()),
            };
            let name = Text { expecting: "a name", numbers: false, parse };
            let mut all = Vec::new();
            while let Some(name) = entries.next_key_seed(name)? {
                all.push((name, entries.next_value()?));
            }
            Ok(all)
        }
    }

    from.deserialize_any(Variables)
}

/// The readers of what we publish take names of ours as ours.
pub(super) fn annotations<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let annotations = BTreeMap::<String, String>::deserialize(from)?;
    match annotations.keys().find(|name| name.starts_with("dev.pixi-oci.")) {
        Some(name) => Err(D::Error::custom(format!("the annotation `{name}` is pixi-oci's own"))),
        None => Ok(annotations),
    }
}

pub(super) fn hashes<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Sha256(String);

    impl<'de> Deserialize<'de> for Sha256 {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let parse = |text: &str| {
                let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                match text.len() == 64 && is_hex {
                    true => Ok(Sha256(text.to_owned())),
                    false => Err("a sha256 has 64 lower-case hex digits".to_owned()),
                }
            };
            from.deserialize_any(Text { expecting: "a string", numbers: false, parse })
        }
    }

    let hashes = BTreeMap::<String, Sha256>::deserialize(from)?;
    Ok(hashes.into_iter().map(|(name, hash)| (name, hash.0)).collect())
}

/// `semver`, `pep440` or `calver`.
pub(super) fn version_scheme<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| match text {
        "semver" | "pep440" | "calver" => Ok(text.to_owned()),
        other => Err(format!("unknown version scheme `{other}`; expected semver, pep440 or calver")),
    };
    from.deserialize_any(Text { expecting: "a string", numbers: false, parse }).map(Some)
}
