//! Layers are sent while others are still fetched and made.
//!
//! It begins before the image is known, so it is only done where nothing that the image turns out to be can block its
//! publication: no tag that must not change is there. A registry gets each layer once: its other repositories have it linked from
//! the first one. A build that fails leaves blobs there that nothing names, which registries remove by themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::tags::TagPlan;
use futures_util::future::{join, join_all};
use pixi_oci_layer::Digest;
use pixi_oci_registry::{
    Registry, Repository,
    push::{Ahead, AheadLayer, MountFrom, PushLayer, PushPlan, push_layers},
};
use pixi_oci_store::base::BaseRef;
use tokio::sync::{
    mpsc::{UnboundedReceiver, unbounded_channel},
    oneshot,
};

use crate::{
    content::{mount, pushed::Pushed, sizes},
    destination::Destination,
    request::Publishing,
};
use pixi_oci_pipeline::{LayerHere, LayerKind, LayerOrigin, OnLayer, Published};
use pixi_oci_plan::Error;
use pixi_oci_plan::Staged;
use pixi_oci_project::{Event, Project, Session};

/// Repositories that get layers ahead of their image: of each registry the first one, and the others from that.
pub struct EarlyUploads<'a>(Vec<(Early<'a>, Vec<Early<'a>>)>);

/// A repository that gets layers ahead.
struct Early<'a> {
    repository: &'a Repository,
    registry: &'a Registry,
    /// What may be there already, or be linked to it, is not sent ahead: it is asked for when the image is known, if at all.
    sent_before: BTreeSet<Digest>,
    /// So may be all layers that were not made in this run: of images whose layers are taken.
    may_have_others: bool,
    /// Where a layer may be linked from.
    from: Vec<MountFrom>,
}

impl<'a> EarlyUploads<'a> {
    /// The repositories that may get them. `tags` are those that the first destination gets for images of all architectures.
    pub fn find(
        run: &Publishing<'_>,
        project: Option<&Project>,
        tags: &TagPlan,
        destinations: &'a [Destination],
        remote: Option<&Published>,
    ) -> Self {
        let mut all = Self(Vec::new());
        let request = run.request;
        let is_sif = destinations.first().is_none_or(|first| first.target.is_sif());
        let open = || destinations.iter().filter_map(|to| Some((&to.target, to.state.as_ref().ok()?)));
        let is_fixed = open().any(|(_, open)| tags.fixed(&open.known.tags).next().is_some());
        if !request.builds() || request.dry_run || is_sif || is_fixed {
            return all;
        }
        let sent = Pushed::open(&run.session.caches.dir);
        let base = project.and_then(|project| BaseRef::parse(&project.configuration.base).ok());
        for (target, open) in open().filter(|(target, _)| !target.is_sif()) {
            let repository = &target.repository;
            let early = |from| Early {
                repository,
                registry: &open.registry,
                sent_before: sent.at_registry(repository),
                may_have_others: remote.is_some_and(|remote| !remote.mount_from(repository).is_empty()),
                from,
            };
            match all.0.iter_mut().find(|(first, _)| first.repository.host() == repository.host()) {
                Some((first, others)) => others.push(early(vec![first.repository.path().into()])),
                None => {
                    let from = base.as_ref().and_then(|base| mount::path_of(base, repository));
                    all.0.push((early(from.iter().map(|path| path.as_str().into()).collect()), Vec::new()));
                }
            }
        }
        all
    }

    /// Runs `build`, and sends the layers that it gives away; all of them are there in the end, or one could not be sent to a
    /// repository.
    pub fn upload_while<'b>(
        &self,
        session: &Session,
        build: impl FnOnce(OnLayer<'_>) -> Result<Staged<'b>, Error>,
    ) -> Result<(Staged<'b>, BTreeMap<Repository, Ahead>), Error> {
        let each = || self.0.iter().flat_map(|(first, others)| [first].into_iter().chain(others));
        each().for_each(|early| session.emit(Event::SendingStarted { repository: early.repository.to_string() }));
        let (mut senders, mut queues) = (Vec::new(), Vec::new());
        for (first, others) in &self.0 {
            let (sender, layers) = unbounded_channel();
            senders.push((first, sender));
            queues.push((first, others, layers));
        }
        let (goes_on, given_up) = oneshot::channel::<()>();
        let send_all = async || {
            let all = queues.into_iter().map(|(first, others, layers)| send(first, others, layers));
            tokio::select! {
                sent = join_all(all) => sent,
                _ = given_up => Vec::new(),
            }
        };
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| session.run(send_all()));
            let built = build(&|LayerHere { kind, origin, descriptor, file }| {
                let layer = PushLayer { descriptor: (*descriptor).clone(), source: Some(file.to_path_buf()) };
                let layer = AheadLayer { layer, may_be_linked: *kind == LayerKind::Base };
                let is_made = *origin == Some(LayerOrigin::Made);
                let goes_ahead =
                    |to: &Early<'_>| !to.sent_before.contains(&descriptor.digest) && (is_made || !to.may_have_others);
                for (_, sender) in senders.iter().filter(|(first, _)| goes_ahead(first)) {
                    // Nobody takes it after a failure.
                    let _ = sender.send(layer.clone());
                }
            });
            drop(senders);
            match &built {
                Ok(staged) => {
                    let plan = PushPlan::new(&staged.index, &BTreeMap::new());
                    each().for_each(|early| session.emit(publish_started(early.repository, &plan)));
                }
                Err(_) => drop(goes_on),
            }
            let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((built?, sent?.into_iter().flatten().collect()))
        })
    }
}

/// Sends layers to the first repository of a registry, and has those that are there linked to the others.
async fn send(
    first: &Early<'_>,
    others: &[Early<'_>],
    layers: UnboundedReceiver<AheadLayer>,
) -> Vec<(Repository, Ahead)> {
    let (mut senders, mut linkings) = (Vec::new(), Vec::new());
    for early in others {
        let (sender, layers) = unbounded_channel();
        senders.push(sender);
        linkings.push(async {
            let layers = layers;
            let ahead = push_layers(layers, &early.from, early.registry, |_| ()).await;
            (early.repository.clone(), ahead)
        });
    }
    let sending = async {
        let senders = senders;
        let hand_on = |layer: &AheadLayer| {
            let layer = AheadLayer { may_be_linked: true, ..layer.clone() };
            senders.iter().for_each(|sender| drop(sender.send(layer.clone())));
        };
        let ahead = push_layers(layers, &first.from, first.registry, hand_on).await;
        (first.repository.clone(), ahead)
    };
    let (sent, mut linked) = join(sending, join_all(linkings)).await;
    linked.push(sent);
    linked
}

/// That a repository is going to be served with all of the plan's blobs.
pub fn publish_started(repository: &Repository, plan: &PushPlan) -> Event {
    let sizes = sizes(plan);
    Event::PublishStarted {
        repository: repository.to_string(),
        blobs: sizes.len(),
        dry_run: plan.dry_run,
        bytes: sizes.values().sum(),
    }
}
