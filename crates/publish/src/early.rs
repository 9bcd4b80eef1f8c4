//! Layers are sent while others are still fetched and made.
//!
//! It begins before the image is known, so it is only done where nothing that the image turns out to be can block its
//! publication: no tag that must not change is there. And only to the first repository: others of its registry get the blobs by
//! mounts. A build that fails leaves blobs there that nothing names, which registries remove by themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::tags::TagPlan;
use pixi_oci_layer::Digest;
use pixi_oci_registry::{
    Registry, Repository,
    push::{Ahead, PushLayer, PushPlan, TagRule, push_layers},
};
use tokio::sync::{mpsc::unbounded_channel, oneshot};

use crate::{content::sizes, destination::Destination, request::PublishRequest, request::PublishSource};
use pixi_oci_pipeline::{OnLayer, Published, Pushed};
use pixi_oci_plan::Error;
use pixi_oci_plan::Staged;
use pixi_oci_project::{Event, Session};

/// A repository that gets layers ahead of their image.
pub struct EarlyUpload<'a> {
    repository: &'a Repository,
    registry: &'a Registry,
    /// What may be there already, or be linked to it, is not sent ahead: it is asked for when the image is known, if at all.
    sent_before: BTreeSet<Digest>,
}

impl<'a> EarlyUpload<'a> {
    /// The repository that may get them, if there is one. `tags` are those of all architectures.
    pub fn find(
        request: &PublishRequest,
        tags: &TagPlan,
        destinations: &'a [Destination],
        remote: Option<&Published>,
        session: &Session,
    ) -> Option<Self> {
        let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
        let first = destinations.first().filter(|first| !first.target.is_sif())?;
        let early = Self {
            repository: &first.target.repository,
            registry: &first.state.as_ref().ok()?.registry,
            sent_before: Pushed::open(&session.caches.dir).at_registry(&first.target.repository),
        };
        // What can be linked is not to be sent.
        let links = remote.is_some_and(|remote| !remote.mount_from(early.repository).is_empty());
        let is_fixed = destinations
            .iter()
            .filter_map(|destination| destination.state.as_ref().ok())
            .any(|open| has_fixed(tags, &open.known.tags));
        (builds && !request.dry_run && !links && !is_fixed).then_some(early)
    }

    /// Runs `build`, and sends the layers that it gives away; all of them are there in the end, or one could not be sent.
    ///
    /// # Errors
    ///
    /// Those of the build, which end the sending, and interruptions.
    pub fn upload_while<'b>(
        &self,
        session: &Session,
        build: impl FnOnce(OnLayer<'_>) -> Result<Staged<'b>, Error>,
    ) -> Result<(Staged<'b>, Ahead), Error> {
        session.emit(Event::SendingStarted { repository: self.repository.to_string() });
        let (sender, layers) = unbounded_channel();
        let (goes_on, given_up) = oneshot::channel::<()>();
        let send = async || {
            tokio::select! {
                ahead = push_layers(layers, self.registry) => ahead,
                _ = given_up => Ahead::default(),
            }
        };
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| session.run(send()));
            let built = build(&|blob, file| {
                if self.sent_before.contains(&blob.digest) {
                    return;
                }
                // Nobody takes it after a failure.
                let _ = sender.send(PushLayer { descriptor: blob.clone(), source: Some(file.to_owned()) });
            });
            drop(sender);
            match &built {
                Ok(staged) => {
                    session.emit(publish_started(self.repository, &PushPlan::new(&staged.index, &BTreeMap::new())))
                }
                Err(_) => drop(goes_on),
            }
            let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((built?, sent?))
        })
    }
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

/// Whether a tag is there that must not change: it may name something else than what is going to be built.
fn has_fixed(tags: &TagPlan, existing: &[String]) -> bool {
    tags.tags.iter().any(|planned| planned.rule == TagRule::Immutable && existing.contains(&planned.tag))
}
