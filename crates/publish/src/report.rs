//! What was published, for people and machines.

pub mod hints;
pub mod outcome;
mod text;

use pixi_oci_layer::Digest;
use pixi_oci_registry as registry;
use serde::Serialize;

use crate::leg::Leg;
use pixi_oci_pipeline::{BuildReport, in_one_line};

/// The result of a publication. Its JSON form is what `--json` prints.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishReport {
    /// Whether nothing was written, and this is what would be.
    pub dry_run: bool,
    /// The version, `branch NAME` where it is that of a branch.
    pub version: Option<String>,
    /// Of the image index, or of the image where there is no index.
    pub digest: Digest,
    /// Of what `digest` names.
    pub media_type: String,
    pub images: Vec<PublishedImage>,
    /// The repositories, in the order given.
    pub destinations: Vec<DestinationReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildReport>,
    /// For the job that joins the architectures, of a leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<Leg>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedImage {
    /// `linux/amd64`; none for what is no image of a machine we know.
    pub platform: Option<String>,
    /// Of the image manifest.
    pub digest: Digest,
    /// Of the image configuration; `None` where the image was published by another job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// Of the layers, bottom first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationReport {
    /// `HOST/REPOSITORY`, or `oras://HOST/REPOSITORY` for SIFs.
    pub repository: String,
    /// `…@DIGEST`, if that is there, or would be.
    pub reference: Option<String>,
    pub status: Status,
    /// The tags, in the order in which they were put.
    pub tags: Vec<PublishedTag>,
    pub kept: Vec<KeptTag>,
    /// Blobs that were sent, or would be.
    pub uploaded: Vec<Digest>,
    /// Blobs that the registry linked from other repositories.
    pub mounted: Vec<Digest>,
    /// Blobs that were there.
    pub present: Vec<Digest>,
    /// Manifests, and the index, that were not there before.
    pub manifests: Vec<Digest>,
    /// Bytes that were sent, or would be.
    pub bytes: u64,
    pub requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    Published,
    WouldPublish,
    /// There is no login, so that a dry run could not ask what it has.
    NotChecked,
    /// It failed; of the tags none names anything incomplete.
    Failed,
    /// Another one blocked before anything was published.
    #[default]
    NotTried,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedTag {
    pub tag: String,
    pub digest: Digest,
    pub previous: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptTag {
    pub tag: String,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureReport {
    /// The name of the refusal, as docs/publishing.md lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocker: Option<&'static str>,
    pub message: String,
}

impl FailureReport {
    pub(super) fn new(error: &registry::Error) -> Self {
        Self { blocker: error.name(), message: in_one_line(error) }
    }
}

impl PublishReport {
    /// Whether every repository has what it should have.
    pub fn is_complete(&self) -> bool {
        self.destinations
            .iter()
            .all(|d| matches!(d.status, Status::Published | Status::WouldPublish | Status::NotChecked))
    }
}
