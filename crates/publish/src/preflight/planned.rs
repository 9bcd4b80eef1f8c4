//! Plans of environments together with what their publication would upload.

use std::collections::BTreeSet;

use pixi_oci_layer::Digest;
use pixi_oci_pipeline::Remote;
use pixi_oci_plan::{DestinationPlan, EnvironmentPlan, PlanOptions, PlannedBlobs, plan};
use pixi_oci_project::{Project, Session};

use crate::{
    PublishError, PublishRequest,
    content::mount::Mountable,
    content::pushed::Pushed,
    preflight::{RepositoryState, Wanted, preflight},
};

/// Plans environments for a publication, a dry run, whose repositories are asked what they have. Layers are taken as it
/// takes them. A repository that does not answer is in the plan.
pub fn plan_publication(
    projects: &[Project],
    request: &PublishRequest,
    options: PlanOptions<'_>,
    session: &Session,
) -> Result<Vec<EnvironmentPlan>, PublishError> {
    let Some(first) = projects.first() else { return Ok(Vec::new()) };
    let (mut preflight, published) = preflight(request, first, session)?;
    let remote = published.as_ref().map(|remote| remote as &dyn Remote);
    let mut plans = Vec::new();
    let sent = Pushed::open(&session.caches.dir);
    for ((mut plan, blobs), project) in plan(projects, options, remote, session)?.into_iter().zip(projects) {
        let (images, root) = match &blobs.images[..] {
            [(_, manifest)] if !request.settings.index => (&[][..], *manifest),
            images => (images, blobs.index),
        };
        request.check_index(&blobs.images.iter().map(|(architecture, _)| *architecture).collect::<Vec<_>>())?;
        let wanted = Wanted { blobs: &blobs.descriptors(), images, index: root };
        let states = preflight.stock(project, &wanted, published.as_ref())?;
        let manifests = images.len() + 1;
        let known: Vec<Digest> = blobs.known.keys().copied().collect();
        let mut served = Vec::new();
        for state in states {
            let mountable = Mountable {
                served: &served,
                remote: published.as_ref(),
                bases: &blobs.bases,
                sent: &sent,
                blobs: &known,
            };
            let from = mountable.from(&state.repository);
            let linked = from.into_iter().flat_map(|from| from.blobs.unwrap_or_default()).collect();
            served.extend(state.has.is_ok().then(|| (state.repository.clone(), known.clone())));
            plan.push.push(destination(&blobs, manifests, state, &linked));
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// What would be sent to a repository that has some of the known ones.
fn destination(
    blobs: &PlannedBlobs,
    manifests: usize,
    stock: RepositoryState,
    linked: &BTreeSet<Digest>,
) -> DestinationPlan {
    let (repository, refusal) = (stock.repository.to_string(), stock.refusal);
    let has = match stock.has {
        Ok(has) => has,
        Err(failure) => {
            return DestinationPlan { repository, refusal, failure: Some(failure), ..Default::default() };
        }
    };
    let absent = blobs.known.iter().filter(|(digest, _)| !has.blobs.contains(*digest));
    let (linked, sent): (Vec<_>, Vec<_>) = absent.partition(|(digest, _)| linked.contains(*digest));
    DestinationPlan {
        repository,
        refusal,
        blobs: sent.len() + blobs.to_build.len(),
        bytes: sent.iter().map(|(_, size)| **size).chain(blobs.to_build.values().copied()).sum(),
        exact: blobs.to_build.is_empty() && !blobs.is_incomplete,
        linked: linked.len(),
        present: has.blobs.len(),
        manifests: manifests.saturating_sub(has.manifests),
        tags: has.tags,
        failure: None,
    }
}
