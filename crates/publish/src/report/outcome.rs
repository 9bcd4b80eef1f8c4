//! How it ended for each repository.

use pixi_oci_registry::{
    Error,
    push::{PushPlan, PushReport, TagResult, TagStep},
};

use crate::{
    content::{blobs, bytes_of},
    destination::Destination,
    report::{DestinationReport, FailureReport, KeptTag, PublishedTag, Status},
    request::{PublishRequest, target::PublishTarget},
    tags::TagPlan,
};

pub fn blocked(destinations: Vec<Destination>) -> Vec<DestinationReport> {
    let report = |destination: Destination| {
        if !destination.blocks() {
            return empty(&destination.target, Status::NotTried);
        }
        let failure = destination.state.err().map(|error| FailureReport::new(&error));
        DestinationReport { failure, ..empty(&destination.target, Status::Failed) }
    };
    destinations.into_iter().map(report).collect()
}

fn empty(target: &PublishTarget, status: Status) -> DestinationReport {
    DestinationReport { repository: target.to_string(), status, ..Default::default() }
}

/// What would be sent to a repository that has nothing: what it has is not known.
pub fn unchecked(target: &PublishTarget, plan: &PushPlan, tags: &TagPlan) -> DestinationReport {
    let tag = |step: &TagStep| PublishedTag { tag: step.tag.clone(), digest: step.target, previous: None };
    let blobs = blobs(plan);
    DestinationReport {
        reference: reference(target, plan),
        tags: plan.tags.iter().map(tag).collect(),
        kept: kept(tags),
        bytes: bytes_of(plan, &blobs),
        uploaded: blobs,
        manifests: plan.documents().map(|document| document.descriptor.digest).collect(),
        ..empty(target, Status::NotChecked)
    }
}

fn reference(target: &PublishTarget, plan: &PushPlan) -> Option<String> {
    plan.root().map(|digest| format!("{target}@{digest}"))
}

fn kept(tags: &TagPlan) -> Vec<KeptTag> {
    tags.kept.iter().map(|kept| KeptTag { tag: kept.tag.clone(), reason: kept.reason.to_string() }).collect()
}

pub fn destination_report(
    request: &PublishRequest,
    target: &PublishTarget,
    plan: &PushPlan,
    tags: &TagPlan,
    pushed: Result<PushReport, Error>,
) -> DestinationReport {
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(error) => {
            let failure = Some(FailureReport::new(&error));
            return DestinationReport { failure, ..empty(target, Status::Failed) };
        }
    };
    let status = if request.dry_run { Status::WouldPublish } else { Status::Published };
    let tag = |tag: &TagResult| PublishedTag { tag: tag.tag.clone(), digest: tag.new, previous: tag.old };
    // A dry run sends nothing: what it would send is known all the same.
    let bytes = if request.dry_run { bytes_of(plan, &pushed.uploaded) } else { pushed.bytes };
    DestinationReport {
        reference: reference(target, plan),
        tags: pushed.tags.iter().filter(|tag| !tags.kept.iter().any(|kept| kept.tag == tag.tag)).map(tag).collect(),
        kept: kept(tags),
        uploaded: pushed.uploaded,
        mounted: pushed.mounted,
        present: pushed.present,
        manifests: pushed.manifests,
        bytes,
        requests: pushed.requests,
        ..empty(target, status)
    }
}
