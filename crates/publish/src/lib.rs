//! From a workspace, a layout or the results of several CI jobs to tags in registries.
//!
//! [`publish_images`] asks every registry before anything is built or sent: whatever can be known to block blocks then,
//! and nothing is published anywhere. After that registries are served at the same time, the repositories of each one after
//! another; one that fails does not keep the others from being served. [`prune`] removes what only publishing needed.

mod baseline;
mod content;
mod destination;
mod early;
mod error;
mod layers;
mod leg;
mod preflight;
mod prune;
mod publish;
mod report;
mod request;
mod since;
pub mod tags;

pub use error::PublishError;
pub use layers::{LayersReport, plan_layers, publish_layers};
pub use leg::{Leg, Legs};
pub use preflight::planned::plan_publication;
pub use prune::{PruneReport, PrunedRepository, PrunedTag, prune};
pub use publish::publish_images;
pub use report::{
    DestinationReport, FailureReport, KeptTag, PublishReport, PublishedImage, PublishedTag, Status, hints::hint,
};
pub use request::{PublishRequest, PublishSource, fleet::check_apart, settings::Settings};
pub use since::{PublishedRef, images_since};
