//! Everything a publication depends on, besides what a build depends on.

use std::path::PathBuf;

use crate::tags::{CiContext, CiEvent, Version, VersionInput, find_version};

use crate::settings::Settings;

/// What to publish, and where.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    pub source: PublishSource,
    pub settings: Settings,
    /// Tags of the command line, instead of the configured ones.
    pub tags: Vec<String>,
    /// Where the version comes from.
    pub facts: VersionFacts,
    /// Whether layers are taken from what is published in the first repository already, if nothing else is named.
    pub takes_published: bool,
    /// Only report what would be done: nothing is written to a registry.
    pub dry_run: bool,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishSource {
    /// The workspace's images, which are built first.
    Workspace,
    /// The workspace's image for one architecture, without an index: somebody joins it with others later.
    Leg,
    /// What is in an OCI layout, `oci:DIR[:TAG]` or `oci:DIR@DIGEST`, as it is.
    Layout(String),
    /// An index of images that are in the repositories already: files with a [`Leg`](super::Leg) each.
    Legs(Vec<PathBuf>),
}

/// What is known of the version, read by the command line.
#[derive(Debug, Clone, Default)]
pub struct VersionFacts {
    /// `VERSION` of the environment.
    pub said: Option<String>,
    /// The CI in which this runs.
    pub ci: Option<CiContext>,
    /// What `git describe --tags --dirty` says.
    pub described: Option<String>,
    /// The branch of `HEAD`.
    pub branch: Option<String>,
    /// The commit of `HEAD`.
    pub commit: Option<String>,
    /// Why the working tree is not, or may not be, that of the commit.
    pub unclean: Option<String>,
}

impl VersionFacts {
    /// What is published, if anybody knows.
    pub(super) fn version(&self) -> Option<Version> {
        find_version(&VersionInput {
            said: self.said.as_deref(),
            ci: self.ci.as_ref(),
            described: self.described.as_deref(),
            branch: self.branch.as_deref(),
        })
    }

    /// The commit that the CI checked out, else that of `HEAD`.
    pub(super) fn commit(&self) -> Option<&str> {
        let ci = self.ci.as_ref().and_then(|ci| ci.sha.as_deref());
        let is_commit = |text: &&str| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
        ci.or(self.commit.as_deref()).filter(is_commit)
    }

    /// The change for which this runs, if it is not merged yet.
    pub(super) fn unmerged(&self) -> Option<(&'static str, &str)> {
        match &self.ci {
            Some(CiContext { system, event: CiEvent::PullRequest(name), .. }) => Some((system, name)),
            _ => None,
        }
    }
}
