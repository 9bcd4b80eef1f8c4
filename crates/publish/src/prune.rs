//! Removes tags that only publishing needed.

use crate::tags::{Prune, StagedTag, prune_plan};
use oci_read::document::{Document, OCI_MANIFEST, ParseDocumentError, SIF_LAYER};
use pixi_oci_layer::Digest;
use pixi_oci_registry::{Error, ErrorKind, Registry, Repository, is_referrers_tag};
use serde::Serialize;

use crate::{
    destination::connect, error::PublishError, report::FailureReport, request::PublishRequest, request::Publishing,
};
use pixi_oci_project::Session;

/// What was removed, or would be.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Whether nothing was removed, and this is what would be.
    pub dry_run: bool,
    /// In the order given.
    pub repositories: Vec<PrunedRepository>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrunedRepository {
    /// `HOST/REPOSITORY`
    pub repository: String,
    /// The tags of single images, by name.
    pub tags: Vec<PrunedTag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrunedTag {
    pub tag: String,
    pub digest: Digest,
    pub removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Removes the images of single architectures, with their tags `TAG-ARCH`, that no index under a tag names any more.
/// `request.tags` are the TAGs; all if empty. What fails at one repository is in the report.
pub fn prune(request: &PublishRequest, session: &Session) -> Result<PruneReport, PublishError> {
    request.check_merged()?;
    let run = Publishing::new(request, session);
    let mut repositories = Vec::new();
    let mut all: Vec<&Repository> = Vec::new();
    for target in &request.settings.targets {
        if !all.contains(&&target.repository) {
            all.push(&target.repository);
        }
    }
    for repository in all {
        let mut pruned = PrunedRepository { repository: repository.to_string(), tags: Vec::new(), failure: None };
        let outcome = session.run(async {
            let registry = connect(&run, repository).await?;
            prune_one(request, &registry, repository, &mut pruned.tags).await
        })?;
        pruned.failure = outcome.err().map(|error| FailureReport::new(&error));
        repositories.push(pruned);
    }
    Ok(PruneReport { dry_run: request.dry_run, repositories })
}

async fn prune_one(
    request: &PublishRequest,
    registry: &Registry,
    repository: &Repository,
    pruned: &mut Vec<PrunedTag>,
) -> Result<(), Error> {
    let mut tags = Vec::new();
    for tag in registry.tags().await? {
        // What belongs to images is not needed for being listed.
        if !is_referrers_tag(&tag) {
            tags.push(look(registry, repository, tag).await?);
        }
    }
    let mut gone: Vec<Digest> = Vec::new();
    for (tag, decision) in prune_plan(&tags, &request.tags) {
        let Some(staged) = tags.iter().find(|staged| staged.tag == tag) else { continue };
        let reason = match decision {
            Prune::NeededBy(other) => Some(format!("the index {other} needs its image")),
            Prune::SharedWith(other) => Some(format!("its image has the tag {other} as well")),
            Prune::Foreign => Some("it is a SIF that Apptainer pushed".to_owned()),
            Prune::Remove => None,
        };
        // By digest, which every registry that deletes at all can do; that takes all tags of the image with it.
        if reason.is_none() && !request.dry_run && !gone.contains(&staged.digest) {
            let (_, bytes) = registry.manifest(&staged.digest.to_string()).await?;
            registry.delete(&staged.digest.to_string()).await?;
            registry.unrefer(&staged.digest, &bytes).await?;
            gone.push(staged.digest);
        }
        // go-containerregistry's keeps the names of what is gone.
        if reason.is_none() && !request.dry_run && registry.head_manifest(&tag).await?.is_some() {
            registry.delete(&tag).await?;
        }
        pruned.push(PrunedTag { tag, digest: staged.digest, removed: reason.is_none(), reason });
    }
    Ok(())
}

async fn look(registry: &Registry, repository: &Repository, tag: String) -> Result<StagedTag, Error> {
    let (descriptor, bytes) = registry.manifest(&tag).await?;
    let unreadable = || {
        let what = format!("tag {tag} of {}", repository.path());
        let reason = "its index names something without a sha256 digest; nothing is removed";
        Error::new(ErrorKind::Answer, repository.host(), what, reason)
    };
    let document = Document::parse("", &bytes);
    let is_foreign = document.as_ref().is_ok_and(|read| read.is_sif() && read.common().artifact_type != SIF_LAYER);
    let children = match document {
        Ok(Document::Index(index)) => {
            let digests = index.manifests.iter().map(|child| child.digest.parse().ok());
            digests.collect::<Option<Vec<Digest>>>().ok_or_else(unreadable)?
        }
        Ok(Document::Manifest(_)) | Err(ParseDocumentError::Schema1 | ParseDocumentError::Neither) => Vec::new(),
        // Something else than an image that names no images.
        Err(ParseDocumentError::MediaType { expected, .. }) if expected == OCI_MANIFEST => Vec::new(),
        Err(_) => return Err(unreadable()),
    };
    Ok(StagedTag { tag, digest: descriptor.digest, children, is_foreign })
}
