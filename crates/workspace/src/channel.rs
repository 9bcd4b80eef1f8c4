//! Channels as a manifest declares them, and in the order in which an environment searches them.

use std::{path::Path, str::FromStr};

use rattler_conda_types::{ChannelConfig, NamedChannelOrUrl};

use crate::{
    ManifestError,
    exclude_newer::Cutoff,
    toml::{Element, Section},
};

/// An entry of `channels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestChannel {
    /// As written: a name, URL or path.
    pub name: String,
    /// The base URL with a slash at the end; names are under `https://conda.anaconda.org/`, paths under the workspace.
    pub url: String,
    /// Higher comes first; without one it is 0.
    pub priority: Option<i64>,
    /// `exclude-newer` for this channel.
    pub exclude_newer: Option<Cutoff>,
}

impl ManifestChannel {
    /// Reads the list under `channels`; `None` if there is no such key.
    pub(crate) fn read_list(section: &Section<'_>, root: &Path) -> Result<Option<Vec<Self>>, ManifestError> {
        let Some(entries) = section.list("channels")? else { return Ok(None) };
        entries.iter().map(|entry| Self::read(entry, root)).collect::<Result<_, _>>().map(Some)
    }

    fn read(entry: &Element<'_>, root: &Path) -> Result<Self, ManifestError> {
        let (name, priority, exclude_newer) = match entry {
            Element::Value(leaf) => (leaf.string()?, None, None),
            Element::Table(table) => {
                let name = table.string("channel")?;
                let name = name.ok_or_else(|| table.error("a channel's table needs `channel`"))?;
                let cutoff = table.parsed("exclude-newer", Cutoff::parse)?;
                (name, table.integer("priority")?, cutoff)
            }
        };
        let url = Self::base_url(&name, root).map_err(|message| entry.error(message))?;
        Ok(Self { name, url, priority, exclude_newer })
    }

    /// The base URL of a channel, with a slash at the end.
    pub fn base_url(name: &str, root: &Path) -> Result<String, String> {
        let config = ChannelConfig::default_with_root_dir(root.to_owned());
        let named = NamedChannelOrUrl::from_str(name).map_err(|e| format!("`{name}` is not a channel: {e}"))?;
        let url = named.into_base_url(&config).map_err(|e| format!("`{name}` is not a channel: {e}"))?;
        Ok(url.to_string())
    }

    /// The channels of several features in pixi's order: by priority, then as the features list them; the first mention of
    /// a channel counts.
    pub fn prioritized<'a>(channels: impl Iterator<Item = &'a Self>) -> Vec<Self> {
        let mut sorted: Vec<_> = channels.collect();
        sorted.sort_by_key(|channel| std::cmp::Reverse(channel.priority.unwrap_or(0)));
        let mut unique: Vec<Self> = Vec::new();
        for channel in sorted {
            if !unique.iter().any(|known| known.url == channel.url) {
                unique.push(channel.clone());
            }
        }
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (name, url) in [
            ("conda-forge", "https://conda.anaconda.org/conda-forge/"),
            ("conda-forge/label/dev", "https://conda.anaconda.org/conda-forge/label/dev/"),
            ("https://prefix.dev/conda-forge", "https://prefix.dev/conda-forge/"),
            ("./local", "file:///w/local/"),
        ] {
            assert_eq!(ManifestChannel::base_url(name, Path::new("/w")).as_deref(), Ok(url), "{name}");
        }
    }
}
