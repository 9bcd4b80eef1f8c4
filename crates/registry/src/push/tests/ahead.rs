//! Layers that are sent before their image is known.

use pixi_oci_test_registry::{Kind, Profile, Registry, checker, fake::Fault, fake::Rule, http::Response, sample};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    error::ErrorKind,
    event::Arrival,
    push::{Ahead, PushPlan, push, push_layers},
    testing::{Setup, release, run},
};

/// Gives all layers of the plan away, those of both images twice, and then publishes it.
fn send(registry: &Registry, plan: &PushPlan) -> (Ahead, crate::client::Registry) {
    let tested = Setup::default().connect(&registry.reference("a/b"));
    let (sender, layers) = unbounded_channel();
    for layer in plan.images.iter().chain(&plan.images).flat_map(|image| &image.layers) {
        sender.send(layer.clone()).unwrap();
    }
    drop(sender);
    (run(push_layers(layers, &tested.registry)), tested.registry)
}

#[test]
fn layers_go_ahead_each_once_and_the_push_finds_them_without_asking() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (image, dir) = (sample::image(2, 6), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    let (ahead, client) = send(&registry, &plan);
    assert!(ahead.failure.is_none(), "{ahead:?}");
    let layers = image.blobs.len() - 2;
    assert_eq!(ahead.arrived.len(), layers);
    assert!(ahead.arrived.values().all(|how| *how == Arrival::Uploaded));
    assert!(registry.most_uploads() <= 3, "{}", registry.most_uploads());
    let puts = |kind| registry.log().iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((puts(Kind::UploadPut), puts(Kind::ManifestPut)), (layers, 0));
    registry.clear_log();
    plan.arrived = ahead.arrived;
    let report = run(push(&plan, &client)).unwrap();
    assert_eq!(report.uploaded.len(), image.blobs.len(), "what came ahead was sent, too");
    let blobs = registry.log().iter().filter(|entry| entry.target.contains("/blobs/")).count();
    assert_eq!(blobs, 4 * 2, "only the configurations are asked for and sent");
    assert_eq!(registry.broken_tags(), [""; 0]);
    checker::check(&registry.address).sound();
}

#[test]
fn a_layer_that_got_lost_since_it_arrived_is_sent_again() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    let layers = plan.images.iter().flat_map(|image| &image.layers);
    plan.arrived = layers.map(|layer| (layer.descriptor.digest, Arrival::Uploaded)).collect();
    let tested = Setup::default().connect(&registry.reference("a/b"));
    run(push(&plan, &tested.registry)).unwrap();
    assert_eq!(registry.broken_tags(), [""; 0]);
    checker::check(&registry.address).sound();
}

#[test]
fn the_first_layer_that_is_refused_is_the_last_that_is_sent() {
    let registry = Registry::start(Profile::distribution_3_1());
    registry.rules([Rule::always(Kind::UploadPut, Fault::Answer(Response::new(413)))]);
    let (image, dir) = (sample::image(2, 9), tempfile::tempdir().unwrap());
    let (ahead, _) = send(&registry, &release(&image, dir.path(), "1.0.0"));
    assert!(ahead.failure.as_ref().is_some_and(|error| error.kind() == ErrorKind::TooLarge), "{ahead:?}");
    assert!(ahead.arrived.is_empty());
    let begun = registry.log().iter().filter(|entry| entry.kind == Kind::UploadPut).count();
    assert!(begun <= 3, "{begun}");
}
