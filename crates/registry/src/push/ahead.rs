//! Layers that are sent before anybody knows the image that will name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
};

use futures_util::{StreamExt, stream};
use pixi_oci_layer::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    blobs::{Blob, PARALLEL, arrive},
    plan::PushLayer,
};
use crate::{
    client::{Registry, UploadSource},
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

/// Sends layers as they come, three at a time and each once, until there are no more or one cannot be sent. Without a manifest
/// they are nothing that anybody sees: [`push`](super::push) makes an image of them. Dropping the future stops it.
pub async fn push_layers(mut layers: UnboundedReceiver<PushLayer>, registry: &Registry) -> Ahead {
    let mut ahead = Ahead::default();
    let mut seen = BTreeSet::new();
    let mut arrivals = stream::poll_fn(|context| layers.poll_recv(context))
        .filter(|layer| ready(seen.insert(layer.descriptor.digest)))
        .map(async |layer| {
            let source = layer.source.map(UploadSource::File);
            let how = arrive(&Blob { descriptor: &layer.descriptor, source }, &[], registry, false).await;
            (layer.descriptor.digest, how)
        })
        .buffer_unordered(PARALLEL);
    while let Some((digest, how)) = arrivals.next().await {
        match how {
            Ok(how) => drop(ahead.arrived.insert(digest, how)),
            Err(error) => {
                ahead.failure = Some(error);
                break;
            }
        }
    }
    drop(arrivals);
    ahead
}
