//! A push that ends at any request, as by `kill -9` or a power failure: what tags name is whole, `latest` is the old or
//! the new release, and the next push finishes with the same digests.
//!
//! The push is dropped while the registry holds the request: nothing more is sent, as when the process is gone. Every
//! request is met twice, before it is done and after.

use std::sync::Arc;

use pixi_oci_test_registry::{Point, Profile, checker, sample};
use tokio::sync::oneshot;

use super::fixture::{REPOSITORY, Release, Setup, setup, start, version};

/// The second release over the first; gives how many requests it takes.
async fn whole(first: &Release, second: &Release) -> usize {
    let registry = start(Profile::plain());
    let setup = setup(&registry);
    setup.push(&registry.address, &first.plan).await.unwrap();
    registry.clear_log();
    setup.push(&registry.address, &second.plan).await.unwrap();
    registry.log().len()
}

async fn kill(setup: &Setup, first: &Release, second: &Release, number: usize, point: Point) {
    let context = format!("request {number}, {point:?}");
    let registry = start(Profile::plain());
    setup.push(&registry.address, &first.plan).await.unwrap();
    registry.clear_log();
    let (here, arrived) = oneshot::channel();
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    registry.at(number, point, move |_| {
        // The test may be over already if the push was.
        let _ = here.send(());
        let _ = wait.recv();
    });
    tokio::select! {
        _ = arrived => {}
        ended = setup.push(&registry.address, &second.plan) => panic!("{context}: it ended: {ended:?}"),
    }
    drop(gone);
    let latest = registry.tag(REPOSITORY, "latest").unwrap();
    assert!([first.image.digest(), second.image.digest()].contains(&latest.as_str()), "{context}: {latest}");
    setup.push(&registry.address, &second.plan).await.unwrap_or_else(|error| panic!("{context}, again: {error}"));
    for value in registry.history() {
        assert_eq!(value.missing, Vec::<String>::new(), "{context}: {value:#?}");
    }
    for (tag, release) in [("1.0.0", first), ("1.1.0", second), ("latest", second)] {
        assert_eq!(registry.tag(REPOSITORY, tag).as_deref(), Some(release.image.digest()), "{context}: {tag}");
    }
    assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{context}");
    if number.is_multiple_of(10) {
        checker::check(&registry.address).sound();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_request_before_and_after_it_is_done() {
    let (first, second) = (version("1.0.0", sample::image(2, 1)), version("1.1.0", sample::image(2, 3)));
    let requests = whole(&first, &second).await;
    assert!(requests > 40, "{requests}");
    let registry = Arc::new(pixi_oci_test_registry::Registry::start(Profile::plain()));
    let setup = setup(&registry);
    for number in 1..=requests {
        for point in [Point::Before, Point::After] {
            kill(&setup, &first, &second, number, point).await;
        }
    }
}
