//! What each repository gets, and under which tags, once everything is made.

use futures_util::future::join_all;
use pixi_oci_registry::{
    Error, ErrorKind,
    push::{PushPlan, check_tags},
};

use super::{Payload, sif::Sifs, tag_steps};
use crate::{
    destination::{Connection, Destination},
    error::PublishError,
    request::{PublishSource, Publishing},
    tags::TagPlan,
};

/// Plans what every destination gets. With several, a tag that must not be put blocks now; a single
/// one is asked by the push itself, before anything is sent.
pub fn prepare(
    run: &Publishing<'_>,
    content: &Payload<'_>,
    sifs: Option<&Sifs>,
    destinations: &mut [Destination],
) -> Result<(), PublishError> {
    let Publishing { request, session, .. } = run;
    for destination in destinations.iter_mut() {
        let known = destination.state.as_ref().map(|open| open.known.clone()).unwrap_or_default();
        let form = &destination.target.form;
        let (plan, tags) = match sifs.filter(|_| destination.target.is_sif()) {
            None => {
                let architectures: Vec<_> = content.architectures.iter().map(|(a, _)| *a).collect();
                let tags = run.tags(form, &architectures, &known)?;
                let root = Some(content.root.digest).filter(|_| request.source != PublishSource::Leg);
                let steps = tag_steps(&tags, root, &content.architectures);
                (PushPlan { tags: steps, ..content.plan.clone() }, tags)
            }
            Some(sifs) => {
                let tags = run.tags(form, &sifs.architectures(), &known)?;
                (sif_plan(run, sifs, &tags, destination)?, tags)
            }
        };
        let plan = PushPlan { dry_run: request.dry_run, ..plan };
        destination.plan = Some((plan, tags));
    }
    if destinations.len() > 1 {
        let asked = destinations.iter_mut().map(|Destination { state, plan, .. }| async move {
            let (Ok(open), Some((plan, _))) = (&state, plan) else { return };
            if let Err(error) = check_tags(plan, &open.registry).await {
                *state = Err(error);
            }
        });
        session.run(join_all(asked))?;
    }
    Ok(())
}

/// A SIF names its image where that is in the same repository. A release that is there stays as it is, whichever it was then.
fn sif_plan(
    run: &Publishing<'_>,
    sifs: &Sifs,
    tags: &TagPlan,
    destination: &Destination,
) -> Result<PushPlan, PublishError> {
    let Publishing { request, session, .. } = run;
    let repository = &destination.target.repository;
    let gets_images = request.settings.targets.iter().any(|other| !other.is_sif() && other.repository == *repository);
    let Ok(Connection { registry, .. }) = &destination.state else { return sifs.plan(tags, gets_images) };
    let has_images = async {
        for image in sifs.images() {
            if registry.head_manifest(&image.digest.to_string()).await?.is_none() {
                return Ok::<_, Error>(false);
            }
        }
        Ok(true)
    };
    // Who cannot be asked now fails the push.
    let subjects = gets_images || session.run(has_images)?.unwrap_or(false);
    let plan = sifs.plan(tags, subjects)?;
    match session.run(check_tags(&plan, registry))? {
        Err(error) if error.kind() == ErrorKind::TagExists => {
            let other = sifs.plan(tags, !subjects)?;
            let is_there = session.run(check_tags(&other, registry))?.is_ok();
            Ok(if is_there { other } else { plan })
        }
        _ => Ok(plan),
    }
}
