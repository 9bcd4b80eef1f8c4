//! What is known of the version, and by which scheme it is one: the same for a build and its publication.

mod ci;
mod find;
mod release;

use pixi_oci_workspace::OciConfig;

pub use self::{
    ci::{CiContext, CiEvent, ci_context},
    find::Version,
    release::{Release, VersionScheme, is_numbers},
};

/// What is known of the version, read by the command line.
#[derive(Debug, Clone, Default)]
pub struct VersionFacts {
    /// `VERSION` of the environment.
    pub said: Option<String>,
    pub ci: Option<CiContext>,
    /// What `git describe --tags --dirty` says.
    pub described: Option<String>,
    /// The branch of `HEAD`.
    pub branch: Option<String>,
    /// The commit of `HEAD`.
    pub commit: Option<String>,
    /// Why the working tree is not, or may not be, that of the commit.
    pub unclean: Option<String>,
    /// The commit of `HEAD`, whatever the CI says, 40 or 64 hexadecimal digits; with `-dirty` unless the working tree is known to be
    /// that commit's.
    pub revision: Option<String>,
}

impl VersionFacts {
    /// The version: what was said, else the CI's tag, else the CI's branch, else what `git describe` says, else the branch.
    /// `None`: it is not known. That of the workspace manifest is not among them: it would not be raised at the right moment.
    ///
    /// In CI `git describe` is not asked: pipelines have shallow clones, and a branch's pipeline is not the one that
    /// releases a commit which has a tag too.
    pub fn version(&self, scheme: VersionScheme) -> Option<Version> {
        let text = |said: Option<&str>| {
            let text = said.map(str::trim).filter(|text| !text.is_empty())?;
            Some(Version::parse(text, scheme))
        };
        let branch = || self.branch.clone().map(Version::Branch);
        text(self.said.as_deref()).or_else(|| match self.ci.as_ref().map(|ci| &ci.event) {
            Some(CiEvent::Tag(tag)) => text(Some(tag)),
            // For a change nothing is pushed, but a dry run should say something.
            Some(CiEvent::Branch(name) | CiEvent::PullRequest(name)) => Some(Version::Branch(name.clone())),
            Some(CiEvent::Unknown) => None,
            None => text(self.described.as_deref()).or_else(branch),
        })
    }

    /// The commit that the CI checked out, else that of `HEAD`.
    pub fn commit(&self) -> Option<&str> {
        let ci = self.ci.as_ref().and_then(|ci| ci.sha.as_deref());
        let is_commit = |text: &&str| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
        ci.or(self.commit.as_deref()).filter(is_commit)
    }

    /// The change for which this runs, if it is not merged yet.
    pub fn unmerged(&self) -> Option<(&'static str, &str)> {
        match &self.ci {
            Some(CiContext { system, event: CiEvent::PullRequest(name), .. }) => Some((system, name)),
            _ => None,
        }
    }

    /// What is to be told of a version that looks like a release of another scheme.
    pub fn hint(&self, scheme: VersionScheme) -> Option<String> {
        match self.version(scheme)? {
            Version::Dev(text) => scheme.hint(&text),
            Version::Release(_) | Version::Branch(_) => None,
        }
    }
}

pub fn scheme(oci: &OciConfig) -> VersionScheme {
    // What is no scheme was refused when the manifest was read.
    oci.version_scheme.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}
