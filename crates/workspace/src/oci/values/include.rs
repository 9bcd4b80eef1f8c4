//! `include`, as text or as a table.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Application files to include: `"SRC"`, `"SRC -> DEST"` or `{ src, dest, mode }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// A path or glob relative to the workspace.
    pub source: String,
    /// Relative to the working directory, or absolute. `None`: the same relative path.
    pub destination: Option<String>,
    /// At most 0o777. `None`: by the executable bit of each file.
    pub mode: Option<u32>,
}

impl std::str::FromStr for Include {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (source, destination) = match text.split_once("->") {
            Some((source, destination)) => (source, Some(destination.trim().to_owned())),
            None => (text, None),
        };
        Self { source: source.trim().to_owned(), destination, mode: None }.checked()
    }
}

impl Include {
    fn checked(self) -> Result<Self, &'static str> {
        let empty = self.source.is_empty() || self.destination.as_deref() == Some("");
        if empty { Err("a path is empty; write \"SRC\" or \"SRC -> DEST\"") } else { Ok(self) }
    }
}

impl<'de> Deserialize<'de> for Include {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(IncludeVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncludeTable {
    src: String,
    dest: Option<String>,
    #[serde(default, deserialize_with = "mode")]
    mode: Option<u32>,
}

struct IncludeVisitor;

impl<'de> Visitor<'de> for IncludeVisitor {
    type Value = Include;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"SRC\", \"SRC -> DEST\" or { src = … }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Include, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Include, A::Error> {
        let IncludeTable { src, dest, mode } = IncludeTable::deserialize(MapAccessDeserializer::new(table))?;
        Include { source: src, destination: dest, mode }.checked().map_err(A::Error::custom)
    }
}

/// `"0755"` or `0o755`; that an integer is written in octal is checked by the reader of the table, which sees how it is written.
fn mode<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    struct Mode;

    impl Visitor<'_> for Mode {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(MODE)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u32, E> {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
            mode.ok_or_else(|| E::custom(format!("expected {MODE}")))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
            let mode = u32::try_from(number).ok().filter(|mode| *mode <= 0o777);
            mode.ok_or_else(|| E::custom(format!("expected {MODE}")))
        }
    }

    from.deserialize_any(Mode).map(Some)
}

pub(in crate::oci) const MODE: &str = "a mode: \"0644\" or 0o644, at most 0777";
