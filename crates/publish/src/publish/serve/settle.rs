//! Tags that several publications move at the same time end at the newest release.
//!
//! The tag of a version is put before the tags that move, so whoever moves one of those last finds all versions.

use pixi_oci_registry::{
    Error, Registry,
    push::{Document, PushPlan, PushReport, TagRule, TagStep},
};

use crate::{
    destination::look_up,
    error::PublishError,
    request::target::TargetForm,
    tags::{Kept, KeptReason, TagPlan, TagsThere},
};

/// Others come between so often at most.
const TURNS: usize = 10;

/// Looks again at the tags that a release has moved: one that an older release took meanwhile is put again, and one that a
/// newer release had is given back. Gives those that the release does not have in the end.
pub async fn settle(
    plan: &PushPlan,
    pushed: &PushReport,
    registry: &Registry,
    form: &TargetForm,
    planned: impl Fn(&TagsThere) -> Result<TagPlan, PublishError>,
) -> Result<Vec<Kept>, Error> {
    let mut kept = Vec::new();
    let moved = |step: &&TagStep| pushed.tags.iter().any(|tag| tag.tag == step.tag && tag.old != Some(tag.new));
    for step in plan.tags.iter().filter(|step| !plan.dry_run && step.rule == TagRule::Moving).filter(moved) {
        kept.extend(settle_tag(step, plan, registry, form, &planned).await?);
    }
    Ok(kept)
}

async fn settle_tag(
    step: &TagStep,
    plan: &PushPlan,
    registry: &Registry,
    form: &TargetForm,
    planned: &impl Fn(&TagsThere) -> Result<TagPlan, PublishError>,
) -> Result<Option<Kept>, Error> {
    let Some(own) = plan.documents().find(|document| document.descriptor.digest == step.target) else {
        return Ok(None);
    };
    let mut found = None;
    for _ in 0..TURNS {
        let there = TagsThere { tags: registry.tags().await?, ..TagsThere::default() };
        let known = look_up(registry, form, there, planned).await?;
        // Tags without a release belong to the last publisher.
        let Some(tags) = planned(&known).ok().filter(|tags| tags.release.is_some()) else { return Ok(None) };
        found = registry.head_manifest(&step.tag).await?.map(|found| found.digest);
        let is_own = found == Some(step.target);
        let kept = tags.kept.into_iter().find(|kept| kept.tag == step.tag);
        match kept {
            None if is_own => return Ok(None),
            None => registry.put(&step.tag, &own.descriptor, &own.bytes).await?,
            Some(Kept { reason: KeptReason::Newer(_, newer), .. }) if is_own => {
                let (descriptor, bytes) = registry.manifest(&newer).await?;
                let newer = Document { descriptor, bytes };
                registry.put(&step.tag, &newer.descriptor, &newer.bytes).await?
            }
            kept => return Ok(kept),
        };
    }
    let found = found.map_or("nothing".to_owned(), |found| found.to_string());
    Err(Error::mismatch(
        format!("{}:{}", registry.repository(), step.tag),
        step.target,
        format!("others move it all the time; it is {found} now"),
    ))
}
