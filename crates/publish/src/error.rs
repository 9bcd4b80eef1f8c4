//! Why nothing is published anywhere. What fails at one repository is in the report.

use std::path::PathBuf;

use crate::tags::{TagError, TemplateError};
use pixi_oci_registry::ParseRepositoryError;
use pixi_oci_store::{StoredError, base::how_to_pin};

/// Why nothing is published. Those with a [`name`](Self::name) are refusals that a pipeline can tell apart.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("nothing to build: this publication has no workspace")]
    NoProject,
    #[error(transparent)]
    Build(#[from] pixi_oci_plan::Error),
    #[error(transparent)]
    Repository(#[from] ParseRepositoryError),
    #[error(
        "{text}: a repository is named without tag and digest (oras:// may have a tag); tags are given with --tag or `tags`"
    )]
    TaggedRepository { text: String },
    #[error(
        "there is no repository to publish to; give one with --to docker://HOST/REPOSITORY or oras://HOST/REPOSITORY, or `repositories` in [tool.pixi-oci]"
    )]
    NoRepository,
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("{text:?} is no OCI layout: write oci:DIR, oci:DIR:TAG or oci:DIR@DIGEST")]
    NoLayout { text: String },
    #[error(
        "{system} runs this for the pull request {change}, and those publish nothing; leave out --publish and PUBLISH"
    )]
    PullRequest { system: &'static str, change: String },
    /// A release on a base image that may be another one tomorrow.
    #[error("version {version} is a release, and its base image {base} is not pinned; {}", how_to_pin(base))]
    UnpinnedBase { version: String, base: String },
    /// A release with packages that may be others tomorrow.
    #[error(
        "version {version} is a release, and the lock file has no sha256 for {}; add its line to [tool.pixi-oci.hashes]: \
         a build without --publish says it",
        packages.join(", ")
    )]
    UnpinnedPackages { version: String, packages: Vec<String> },
    #[error(
        "version {version} is a release, and its builds take only what pixi-oci-build.lock pins; run `pixi-oci build \
         --build-sdists=resolve`, commit that file, and publish with `--build-sdists`"
    )]
    ResolvedBuilds { version: String },
    /// Something that names a commit or a release, of files that are not those of the commit.
    #[error("{what}, and {reason}; commit what belongs to it, or stash it")]
    Dirty { what: String, reason: String },
    #[error("there is no image for {missing}, which {required_by} requires; the index is not published")]
    ArchMissing {
        missing: String,
        /// `--arch`, `arch` or the lock file.
        required_by: &'static str,
    },
    #[error("{} does not belong to the others: {reason}", path.display())]
    LegMismatch { path: PathBuf, reason: String },
    #[error("there is no leg; give the files that `publish --leg-file` wrote")]
    NoLegs,
    #[error("cannot read {}; it is what `publish --leg-file` writes", path.display())]
    NoLeg { path: PathBuf, source: std::io::Error },
    #[error("{} is not what `publish --leg-file` writes: {reason}", path.display())]
    Leg { path: PathBuf, reason: String },
    /// Registries block, so that nothing was built and nothing published.
    #[error("nothing was published: not every repository can be published to")]
    Blocked(Vec<super::DestinationReport>),
    #[error(
        "{} and {} would both put the tag {tag} in {repository}; give each repositories of its own, or `tags` of its own",
        first.display(), second.display()
    )]
    SharedTag {
        first: PathBuf,
        second: PathBuf,
        /// `HOST/REPOSITORY`
        repository: String,
        tag: String,
    },
    #[error(
        "images and SIFs would both have the tag {tag} in {repository}; set `sif-tag-prefix`, or give oras:// another tag or \
         repository"
    )]
    SharedByForms { repository: String, tag: String },
    #[error(
        "oras:// with the image of one architecture: SIFs are published by a run for all of them; leave out --leg-file, or the \
         oras:// destination"
    )]
    SifLeg,
    #[error("layers are kept in one repository, for images; give one `--to docker://HOST/REPOSITORY`")]
    LayersPlace,
    #[error("layers cannot be kept under the tag {tag}: {reason}")]
    LayersTag { tag: String, reason: &'static str },
    #[error("--leg-file is for the image of one architecture; choose it with --arch")]
    LegOfMany,
    #[error(
        "`index = false` publishes the image of one architecture, and {found}; choose one with --arch, or leave out `index`"
    )]
    NoIndex { found: String },
}

impl PublishError {
    /// The name of the refusal, as docs/publishing.md lists them.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Tag(TagError::DevTag { .. }) => "dev-tag",
            Self::PullRequest { .. } => "pull-request",
            Self::UnpinnedBase { .. } => "unpinned-base",
            Self::UnpinnedPackages { .. } | Self::ResolvedBuilds { .. } => "unpinned-package",
            Self::Dirty { .. } => "dirty",
            Self::ArchMissing { .. } => "arch-missing",
            // The job that makes it has failed, or did not run.
            Self::NoLeg { source, .. } if source.kind() == std::io::ErrorKind::NotFound => "arch-missing",
            Self::LegMismatch { .. } => "leg-mismatch",
            _ => return None,
        })
    }
}

impl From<pixi_oci_project::Error> for PublishError {
    fn from(error: pixi_oci_project::Error) -> Self {
        Self::Build(error.into())
    }
}
