//! Layers without the image that has them: one machine's share, kept in a repository for the jobs that publish the images.

use pixi_oci_pipeline::{Published, RemoteOptions, share_tag};
use pixi_oci_plan::{MadeLayer, Shard, ShardedProject, Share, cache_from, make_shard, shards};
use pixi_oci_project::Session;
use pixi_oci_registry::{
    check_tag,
    push::{AheadLayer, PushLayer, PushPlan, TagRule, TagStep, push, push_layers},
};
use serde::Serialize;
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    baseline::named_images,
    destination::{Destination, open},
    error::PublishError,
    report::{DestinationReport, outcome},
    request::{PublishRequest, Publishing},
    tags::TagPlan,
};

/// The tag whose shares these are, where none is chosen: what a reference without a tag means.
const DEFAULT_TAG: &str = "latest";

/// One share of the layers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayersReport {
    /// Whether nothing was made or written, and this is what would be.
    pub dry_run: bool,
    /// `I/N`
    pub shard: String,
    /// `HOST/REPOSITORY:TAG` that others take the layers from.
    pub cache_from: String,
    /// How many layers it has; where servers do not say what is in some packages, a dry run may be off by one or two.
    pub count: usize,
    /// The sum of the lengths of their packages' archives.
    pub bytes: u64,
    pub layers: Vec<MadeLayer>,
    /// What was sent; `None` where nothing had to be.
    pub destination: Option<DestinationReport>,
}

/// The shares of so many machines, of the layers that no image has which was named. Without a `request` images are read as for a build.
pub fn plan_layers(
    request: Option<&PublishRequest>,
    projects: &[ShardedProject],
    count: usize,
    session: &Session,
) -> Result<Vec<Share>, PublishError> {
    Ok(shards(projects, remote(request, projects, session)?.as_ref(), count)?)
}

/// The images that were named, which are the same for all projects of one command line.
fn remote(
    request: Option<&PublishRequest>,
    projects: &[ShardedProject],
    session: &Session,
) -> Result<Option<Published>, PublishError> {
    let Some(ShardedProject { project, .. }) = projects.first() else { return Ok(None) };
    let named = &project.inputs.cache_from;
    let Some(request) = request.filter(|_| !named.is_empty()) else { return Ok(cache_from(project, session)?) };
    let from = named_images(&Publishing::new(request, session), named);
    Ok(Some(Published::new(RemoteOptions { from, to: Vec::new(), may_mount: false }, session.clone())))
}

/// Makes one share of the layers that no image has which was named, and sends them to the repository of `request` as they
/// come. Nothing is made that cannot be sent.
pub fn publish_layers(
    request: &PublishRequest,
    projects: &[ShardedProject],
    shard: Shard,
    session: &Session,
) -> Result<LayersReport, PublishError> {
    request.check_merged()?;
    let [target] = &request.settings.targets[..] else { return Err(PublishError::LayersPlace) };
    if target.is_sif() {
        return Err(PublishError::LayersPlace);
    }
    let of = request.tags.first().map_or(DEFAULT_TAG, String::as_str);
    let tag = share_tag(of, shard.index, shard.of);
    check_tag(&tag).map_err(|reason| PublishError::LayersTag { tag: tag.clone(), reason })?;
    let mut destinations = open(&Publishing::new(request, session), &[])?;
    if destinations.iter().any(Destination::blocks) {
        return Err(PublishError::Blocked(outcome::blocked(destinations)));
    }
    let report = |share: Share| LayersReport {
        dry_run: request.dry_run,
        shard: shard.to_string(),
        cache_from: format!("{}:{of}", target.repository),
        count: share.layers.len(),
        bytes: share.bytes,
        layers: Vec::new(),
        destination: None,
    };
    if request.dry_run {
        return Ok(report(plan_layers(Some(request), projects, shard.of, session)?.swap_remove(shard.index - 1)));
    }
    let Some(Ok(connection)) = destinations.pop().map(|destination| destination.state) else {
        return Err(PublishError::LayersPlace);
    };
    let registry = &connection.registry;
    let remote = remote(Some(request), projects, session)?;
    let (sender, layers) = unbounded_channel();
    let uploads = session.part();
    let (made, ahead) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| uploads.run(push_layers(layers, &[], registry, |_| ())));
        let made = make_shard(projects, remote.as_ref(), shard, &|here| {
            let layer = PushLayer { descriptor: here.descriptor.clone(), source: Some(here.file.to_owned()) };
            // It is not taken after a failure.
            let _ = sender.send(AheadLayer { layer, may_be_linked: false });
        });
        drop(sender);
        if made.is_err() {
            // What waits to be sent is for nothing.
            uploads.stop();
        }
        let ahead = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, PublishError>((made?, ahead?))
    })?;
    let mut report = LayersReport { layers: made.layers.clone(), ..report(made.share.clone()) };
    let Some(index) = &made.index else { return Ok(report) };
    let rule = TagRule::Moving;
    let plan = PushPlan {
        arrived: ahead.arrived,
        tags: vec![TagStep { tag, target: index.descriptor.digest, rule }],
        ..PushPlan::new(index, &made.blobs)
    };
    let pushed = match ahead.failure {
        Some(error) => Err(error),
        None => session.run(push(&plan, registry))?,
    };
    report.destination = Some(outcome::destination_report(request, target, &plan, &TagPlan::default(), pushed));
    Ok(report)
}
