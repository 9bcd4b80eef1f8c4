//! What is known of the version, and by which scheme it is one: the same for a build and its publication.

mod ci;
mod find;
mod release;

use pixi_oci_workspace::OciConfig;

pub use self::{
    ci::{CiContext, CiEvent, ci_context},
    find::{Version, VersionInput, find_version},
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
    /// What is published, if anybody knows.
    pub fn version(&self, scheme: VersionScheme) -> Option<Version> {
        find_version(&VersionInput {
            scheme,
            said: self.said.as_deref(),
            ci: self.ci.as_ref(),
            described: self.described.as_deref(),
            branch: self.branch.as_deref(),
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
