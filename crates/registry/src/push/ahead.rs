//! Layers that are sent before anybody knows the image that will name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Poll,
};

use futures_util::{StreamExt, stream};
use pixi_oci_layer::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    blobs::{Blob, PARALLEL, arrive, candidates},
    plan::{MountFrom, PushLayer},
};
use crate::{
    client::{BlobSource, Registry},
    error::Error,
    event::Arrival,
};

/// What became of layers that were sent ahead.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The layers that the repository has, and how they came: for [`PushPlan::arrived`](super::PushPlan).
    pub arrived: BTreeMap<Digest, Arrival>,
    /// What went wrong. Nothing was sent after it.
    pub failure: Option<Error>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadLayer {
    pub layer: PushLayer,
    /// Whether another repository may have it.
    pub may_be_linked: bool,
}

/// Sends layers as they come, three at a time, of those that wait the biggest first, and each once, until there are no more or
/// one cannot be sent. Those that may be linked are asked for in `from`. Each is given to `on_arrived` when it is there.
///
/// Without a manifest they are nothing that anybody sees: [`push`](super::push) makes an image of them. Dropping the future
/// stops it.
pub async fn push_layers(
    mut layers: UnboundedReceiver<AheadLayer>,
    from: &[MountFrom],
    registry: &Registry,
    on_arrived: impl Fn(&AheadLayer),
) -> Ahead {
    let mut ahead = Ahead::default();
    let (mut seen, mut waiting) = (BTreeSet::new(), Vec::new());
    let from = candidates(from, registry);
    let biggest = stream::poll_fn(|context| {
        let mut is_closed = false;
        while let Poll::Ready(layer) = layers.poll_recv(context) {
            let Some(layer) = layer else {
                is_closed = true;
                break;
            };
            if seen.insert(layer.layer.descriptor.digest) {
                waiting.push(layer);
            }
        }
        let size = |at: &usize| waiting[*at].layer.descriptor.size;
        match (0..waiting.len()).max_by_key(size) {
            Some(at) => Poll::Ready(Some(waiting.swap_remove(at))),
            None if is_closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    });
    let mut arrivals = biggest
        .map(async |layer: AheadLayer| {
            let source = layer.layer.source.as_deref().map(BlobSource::File);
            let from = if layer.may_be_linked { &from[..] } else { &[] };
            let how = arrive(&Blob { descriptor: &layer.layer.descriptor, source }, from, registry, false).await;
            (layer, how)
        })
        .buffer_unordered(PARALLEL);
    while let Some((layer, how)) = arrivals.next().await {
        match how {
            Ok(how) => {
                on_arrived(&layer);
                ahead.arrived.insert(layer.layer.descriptor.digest, how);
            }
            Err(error) => {
                ahead.failure = Some(error);
                break;
            }
        }
    }
    drop(arrivals);
    ahead
}
