//! What is being published: a release, a development version, or a branch.

use std::fmt;

use super::release::{Release, VersionScheme, bare};

/// What is being published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// What the scheme takes for one: `1.2.3`, `24.04`.
    Release(Release),
    /// Any other version, such as `1.3.0-rc1` or what `git describe` says between releases.
    Dev(String),
    /// The state of a branch, which has no version.
    Branch(String),
}

impl Version {
    /// Reads the text of a version: a leading `v` before a digit is no part of it.
    pub fn parse(text: &str, scheme: VersionScheme) -> Self {
        let bare = bare(text);
        Release::parse(bare, scheme).map_or_else(|| Self::Dev(bare.to_owned()), Self::Release)
    }

    pub fn release(&self) -> Option<&Release> {
        match self {
            Self::Release(release) => Some(release),
            Self::Dev(_) | Self::Branch(_) => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(release) => write!(f, "{release}"),
            Self::Dev(text) => f.write_str(text),
            Self::Branch(name) => write!(f, "branch {name}"),
        }
    }
}
