//! What is being published: a release, a development version, or a branch.

use std::fmt;

use super::{
    ci::{CiContext, CiEvent},
    release::{Release, VersionScheme, bare},
};

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

/// Where a version may come from. The workspace manifest is not among it: its version is a fallback that nobody raises
/// at the right moment.
#[derive(Debug, Clone, Default)]
pub struct VersionInput<'a> {
    /// How versions are written.
    pub scheme: VersionScheme,
    /// `VERSION` of the environment; empty is none.
    pub said: Option<&'a str>,
    pub ci: Option<&'a CiContext>,
    /// What `git describe --tags` says, and the name of the branch of `HEAD`.
    pub described: Option<&'a str>,
    /// The branch of `HEAD`.
    pub branch: Option<&'a str>,
}

/// The version: what was said, else the CI's tag, else the CI's branch, else what `git describe` says, else the branch.
/// `None`: nobody knows.
///
/// In CI `git describe` is not asked: pipelines have shallow clones, and a branch's pipeline is not the one that
/// releases a commit which has a tag too.
pub fn find_version(input: &VersionInput<'_>) -> Option<Version> {
    let text = |said: Option<&str>| {
        let text = said.map(str::trim).filter(|text| !text.is_empty())?;
        Some(Version::parse(text, input.scheme))
    };
    if let Some(version) = text(input.said) {
        return Some(version);
    }
    if let Some(ci) = input.ci {
        return match &ci.event {
            CiEvent::Tag(tag) => text(Some(tag)),
            CiEvent::Branch(name) => Some(Version::Branch(name.clone())),
            // Nothing is pushed, but a dry run should say something.
            CiEvent::PullRequest(name) => Some(Version::Branch(name.clone())),
            CiEvent::Unknown => None,
        };
    }
    text(input.described).or_else(|| input.branch.map(|name| Version::Branch(name.to_owned())))
}
