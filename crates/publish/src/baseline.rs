//! The published images whose layers are taken.

use pixi_oci_image::Architecture;
use pixi_oci_pipeline::{Believed, Published, RemoteOptions, RemoteRepository};
use pixi_oci_plan::{LayerState, PlannedLayerReport, preview};
use pixi_oci_project::{Event, Project, Session};
use pixi_oci_registry::{Repository, RepositoryRef, is_referrers_tag};

use crate::{
    destination::{Destination, credentials},
    error::PublishError,
    request::Publishing,
    tags::{TagPlan, Version, baseline_tags},
};

/// The images whose layers are taken: those that were named, else what is published in the first repository already. A
/// release is made anew unless images were named.
pub fn remote(
    run: &Publishing<'_>,
    project: Option<&Project>,
    tags: Option<&TagPlan>,
    destinations: &[Destination],
) -> Option<Published> {
    let named = &project?.inputs.cache_from;
    let from: Vec<RemoteRepository> = if named.is_empty() {
        let by_default = takes_published(run) && !is_release(run);
        let first = destinations.first().filter(|_| by_default);
        first.and_then(|first| baseline(run, tags, first)).into_iter().collect()
    } else {
        named_images(run, named)
    };
    // A SIF needs the layers here, so that they are fetched as for a build.
    let is_needed_here = run.request.has(true);
    let to = run.request.settings.targets.iter().filter(|_| !is_needed_here);
    let to = to.map(|to| repository(run, &to.repository, Vec::new())).collect();
    let may_mount = !run.request.dry_run && !is_needed_here;
    Some(Published::new(RemoteOptions { from, to, may_mount }, run.session.clone()))
}

/// The images that were named, with the credentials of the publication.
pub fn named_images(run: &Publishing<'_>, named: &[RepositoryRef]) -> Vec<RemoteRepository> {
    named.iter().map(|from| repository(run, &from.repository, vec![from.reference()])).collect()
}

/// Says what a release, which is made anew, could take from what is published.
pub fn say_what_is_there(
    run: &Publishing<'_>,
    project: &Project,
    tags: &TagPlan,
    destinations: &[Destination],
) -> Result<(), PublishError> {
    let session = run.session;
    let asks = takes_published(run) && is_release(run) && project.inputs.cache_from.is_empty();
    let Some(first) = destinations.first().filter(|_| asks) else { return Ok(()) };
    let Some(from) = baseline(run, Some(tags), first) else { return Ok(()) };
    // Several images would have to be compared for it.
    let [tag] = &from.references[..] else { return Ok(()) };
    let image = format!("{}:{tag}", first.target.repository);
    let published = read_only(from, session);
    let plan = match preview(project, Some(&Believed(&published)), false, session) {
        Ok(plan) => plan,
        Err(pixi_oci_plan::Error::Interrupted) => return Err(pixi_oci_plan::Error::Interrupted.into()),
        // The build says it.
        Err(_) => return Ok(()),
    };
    let all = || plan.platforms.iter().flat_map(|platform| &platform.layers);
    let there: Vec<&PlannedLayerReport> = all().filter(|layer| layer.state == LayerState::Registry).collect();
    if !there.is_empty() {
        let bytes = there.iter().filter_map(|layer| layer.size).sum();
        session.emit(Event::LayersThere { image, layers: there.len(), of: all().count(), bytes });
    }
    Ok(())
}

/// What is published in one repository, only to look at.
pub fn read_only(from: RemoteRepository, session: &Session) -> Published {
    Published::new(RemoteOptions { from: vec![from], to: Vec::new(), may_mount: false }, session.quiet(session.offline))
}

/// A repository, with the credentials of the publication.
pub fn repository(run: &Publishing<'_>, repository: &Repository, references: Vec<String>) -> RemoteRepository {
    RemoteRepository { repository: repository.clone(), references, credentials: credentials(run, repository) }
}

/// The image of a repository that is most like what is published. Tags of SIFs, and of lists of referrers, have none.
fn baseline(run: &Publishing<'_>, tags: Option<&TagPlan>, to: &Destination) -> Option<RemoteRepository> {
    let open = to.state.as_ref().ok().filter(|_| !to.target.is_sif())?;
    let prefix = run.request.settings.sif_tag_prefix.as_str();
    let is_other = |tag: &String| is_referrers_tag(tag) || (!prefix.is_empty() && tag.starts_with(prefix));
    let mut known = open.known.clone();
    known.tags.retain(|tag| !is_other(tag));
    let tags = baseline_tags(&run.tag_input(&Architecture::ALL, &known), tags);
    (!tags.is_empty()).then(|| repository(run, &to.target.repository, tags))
}

/// Without a layer cache all layers are to be made anew.
fn takes_published(run: &Publishing<'_>) -> bool {
    run.request.takes_published && run.session.caches.layers > 0
}

fn is_release(run: &Publishing<'_>) -> bool {
    run.version.as_ref().and_then(Version::release).is_some()
}
