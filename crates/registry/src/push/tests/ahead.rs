//! Layers that are sent before their image is known.

use std::{collections::BTreeSet, sync::Mutex};

use pixi_oci_test_registry::{Kind, Profile, Registry, checker, fake::Fault, fake::Rule, http::Response, sample};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    error::ErrorKind,
    event::{Arrival, Event},
    push::{Ahead, AheadLayer, PushPlan, push, push_layers},
    testing::{Setup, release, run},
};

/// Gives all layers of the plan away, those of both images twice.
fn send(registry: &Registry, plan: &PushPlan) -> (Ahead, crate::client::Registry) {
    send_to(registry, "a/b", None, plan)
}

/// The same; they may be linked from another repository.
fn send_to(registry: &Registry, to: &str, from: Option<&str>, plan: &PushPlan) -> (Ahead, crate::client::Registry) {
    let tested = Setup::default().connect(&registry.reference(to));
    let (sender, layers) = unbounded_channel();
    for layer in plan.images.iter().chain(&plan.images).flat_map(|image| &image.layers) {
        sender.send(AheadLayer { layer: layer.clone(), may_be_linked: from.is_some() }).unwrap();
    }
    drop(sender);
    let from: Vec<_> = from.into_iter().map(Into::into).collect();
    let told = Mutex::new(BTreeSet::new());
    let tell = |layer: &AheadLayer| assert!(told.lock().unwrap().insert(layer.layer.descriptor.digest));
    let ahead = run(push_layers(layers, &from, &tested.registry, tell));
    assert_eq!(told.into_inner().unwrap(), ahead.arrived.keys().copied().collect());
    (ahead, tested.registry)
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
fn a_layer_that_got_lost_since_it_arrived_or_was_seen_is_sent_again() {
    for was_seen in [false, true] {
        let registry = Registry::start(Profile::distribution_3_1());
        let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
        let mut plan = release(&image, dir.path(), "1.0.0");
        let layers = plan.images.iter().flat_map(|image| &image.layers);
        let known = layers.map(|layer| (layer.descriptor.digest, Arrival::Present)).collect();
        *(if was_seen { &mut plan.seen } else { &mut plan.arrived }) = known;
        let tested = Setup::default().connect(&registry.reference("a/b"));
        run(push(&plan, &tested.registry)).unwrap();
        assert_eq!(registry.broken_tags(), [""; 0]);
        checker::check(&registry.address).sound();
    }
}

/// The progress of a push counts every blob.
#[test]
fn a_blob_that_was_seen_is_not_asked_for_and_is_said_all_the_same() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (image, dir) = (sample::image(2, 3), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    let (ahead, _) = send(&registry, &plan);
    registry.clear_log();
    plan.seen = ahead.arrived.keys().map(|digest| (*digest, Arrival::Mounted)).collect();
    let tested = Setup::default().connect(&registry.reference("a/b"));
    let report = run(push(&plan, &tested.registry)).unwrap();
    let asked = registry.log().iter().filter(|entry| entry.kind == Kind::BlobHead).count();
    let configurations = 2;
    assert_eq!(asked, configurations);
    let mounted: BTreeSet<_> = report.mounted.iter().copied().collect();
    assert_eq!((mounted, report.uploaded.len()), (plan.seen.keys().copied().collect(), configurations));
    let events = tested.events.lock().unwrap();
    let done = events.iter().filter_map(|event| match event {
        Event::BlobDone { blob, .. } => Some(*blob),
        _ => None,
    });
    let mut done: Vec<_> = done.collect();
    done.sort();
    let mut blobs: Vec<_> = report.mounted.iter().chain(&report.uploaded).copied().collect();
    blobs.sort();
    assert_eq!(done, blobs);
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

#[test]
fn of_layers_that_wait_the_biggest_go_first_and_another_repository_of_the_registry_has_them_linked() {
    let registry = Registry::start(Profile::distribution_3_1());
    let (image, dir) = (sample::image_of(2, &[10, 4000, 20, 3000, 30, 2000]), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let mut sizes: Vec<(u64, String)> = plan
        .images
        .iter()
        .flat_map(|image| &image.layers)
        .map(|layer| (layer.descriptor.size, layer.descriptor.digest.to_string()))
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let third = sizes[sizes.len() - 3].0;
    send(&registry, &plan);
    let log = registry.log();
    let asked = log.iter().filter(|entry| entry.kind == Kind::BlobHead).take(3);
    for entry in asked {
        let (size, _) = sizes.iter().find(|(_, digest)| entry.target.contains(digest)).unwrap();
        assert!(*size >= third, "{} of {sizes:?}", entry.target);
    }
    registry.clear_log();
    let (ahead, _) = send_to(&registry, "a/c", Some("a/b"), &plan);
    assert!(ahead.arrived.values().all(|how| *how == Arrival::Mounted), "{ahead:?}");
    assert!(registry.log().iter().all(|entry| entry.kind != Kind::UploadPut));
    assert_eq!(ahead.arrived.len(), sizes.len());
}
