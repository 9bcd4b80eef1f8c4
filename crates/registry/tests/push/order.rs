//! What is published in which order, and what is never overwritten.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pixi_oci_registry::{Access, Credentials};
use pixi_oci_test_registry::{
    Fault, Kind, Profile, Rule, checker,
    fake::{Auth, Entry},
    http::Response,
    sample,
};

use super::fixture::{REPOSITORY, TestClock, assert_never_incomplete, release, setup, start, version};

#[tokio::test]
async fn blobs_then_images_then_the_index_then_its_version_then_latest() {
    let release = release(3);
    let registry = start(Profile::plain());
    setup(&registry).push(&registry.address, &release.plan).await.unwrap();
    let puts: Vec<Entry> = registry.log().into_iter().filter(|entry| entry.method == "PUT").collect();
    let names: Vec<&str> = puts.iter().map(|put| put.target.rsplit(['/', '=']).next().unwrap()).collect();
    let manifests = puts.iter().position(|put| put.kind == Kind::ManifestPut).unwrap();
    assert_eq!(manifests, release.image.blobs.len(), "all blobs come first: {names:#?}");
    let [amd64, arm64, index] = [0, 1, 2].map(|n| release.image.manifests[n].0.as_str());
    let mut images = names[manifests..manifests + 2].to_vec();
    images.sort_unstable();
    let mut expected = [amd64, arm64];
    expected.sort_unstable();
    assert_eq!(images, expected);
    assert_eq!(names[manifests + 2..], ["1.0.0-amd64", "1.0.0-arm64", index, "1.0.0", "latest"]);
    assert_never_incomplete(&registry, "order");
    checker::check(&registry.address).sound();
    // Every manifest is read back before anything else is written.
    let log = registry.log();
    for put in log.iter().filter(|entry| entry.kind == Kind::ManifestPut && entry.target.contains("sha256:")) {
        let next = &log[put.number];
        assert_eq!((next.kind, &next.target), (Kind::ManifestGet, &put.target), "after {}", put.line());
    }
    // The last request is no PUT.
    assert!(!registry.log().last().unwrap().kind.mutates());
}

#[tokio::test]
async fn at_most_three_blobs_are_sent_at_once_and_each_once() {
    let release = release(12);
    let registry = start(Profile::plain());
    // Two uploads hang, so that all that are sent beside them are under way at once; counted until the first of the two
    // is tried again.
    registry.rules([Rule { times: 2, ..Rule::once(Kind::UploadPut, Fault::Stall) }]);
    let mut setup = setup(&registry);
    let (most, watched) = (Arc::new(AtomicUsize::new(0)), Arc::downgrade(&registry));
    let seen = most.clone();
    setup.clock = TestClock::new(1, move || {
        let now = watched.upgrade().map_or(0, |registry| registry.most_uploads());
        // Only the first counts.
        let _ = seen.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
    });
    setup.push(&registry.address, &release.plan).await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let uploads = registry.log().iter().filter(|entry| entry.kind == Kind::UploadPut && !entry.faulty).count();
    assert_eq!(uploads, release.image.blobs.len());
}

#[tokio::test]
async fn a_version_that_is_something_else_is_never_overwritten() {
    let registry = start(Profile::plain());
    let first = version("1.0.0", sample::image(2, 1));
    setup(&registry).push(&registry.address, &first.plan).await.unwrap();
    registry.clear_log();
    let second = version("1.0.0", sample::image(2, 2));
    let error = setup(&registry).push(&registry.address, &second.plan).await.unwrap_err();
    assert_eq!(error.name(), Some("tag-exists"), "{error}");
    assert!(!registry.log().iter().any(|entry| entry.kind.mutates()), "found out before anything is sent");
    assert_eq!(registry.tag(REPOSITORY, "latest").as_deref(), Some(first.image.digest()));
}

#[tokio::test]
async fn another_publisher_who_is_faster_wins_the_version() {
    // Between the first look at the version and its publication somebody else publishes it.
    let registry = start(Profile::plain());
    let ours = version("1.0.0", sample::image(2, 2));
    let theirs = sample::image(2, 1);
    sample::upload(&registry.address, REPOSITORY, &theirs, &[]);
    registry.clear_log();
    let setup_once = setup(&registry);
    let last_blob = 1 + {
        let dry = start(Profile::plain());
        setup(&dry).push(&dry.address, &ours.plan).await.unwrap();
        dry.log().iter().rfind(|entry| entry.kind == Kind::UploadPut).unwrap().number
    };
    let (other, digest) = (std::sync::Arc::downgrade(&registry), theirs.digest().to_owned());
    registry.at(last_blob, pixi_oci_test_registry::Point::After, move |_| {
        other.upgrade().unwrap().set_tag(REPOSITORY, "1.0.0", &digest);
    });
    let error = setup_once.push(&registry.address, &ours.plan).await.unwrap_err();
    assert_eq!(error.name(), Some("tag-exists"), "{error}");
    assert_eq!(registry.tag(REPOSITORY, "1.0.0").as_deref(), Some(theirs.digest()));
    assert_eq!(registry.tag(REPOSITORY, "latest"), None);
}

#[tokio::test]
async fn harbors_immutable_tags_are_tag_exists() {
    let registry = start(Profile { auth: Auth::Open, ..Profile::harbor() });
    let rule = Rule::always(Kind::ManifestPut, Fault::Answer(Response::error(412, "PRECONDITION")));
    registry.rules([Rule { target: "/manifests/1.0.0".into(), ..rule }]);
    let error = setup(&registry).push(&registry.address, &release(1).plan).await.unwrap_err();
    assert_eq!(error.name(), Some("tag-exists"), "{error}");
    assert_eq!(registry.tag(REPOSITORY, "latest"), None);
}

#[tokio::test]
async fn without_credentials_publishing_is_an_empty_token_and_reading_is_not() {
    let registry = start(Profile::gitea());
    let mut setup = setup(&registry);
    setup.credentials = Credentials::Anonymous;
    let error = setup.push(&registry.address, &release(1).plan).await.unwrap_err();
    assert_eq!(error.name(), Some("empty-token"), "{error}");
    let client = setup.connect(&registry.address, Access::Pull);
    assert!(client.tags().await.is_err());
    let open = start(Profile::plain());
    setup.connect(&open.address, Access::Pull).tags().await.unwrap();
    setup.push(&open.address, &release(1).plan).await.unwrap();
}

#[tokio::test]
async fn an_image_for_a_missing_architecture_is_not_made_up() {
    // The index names an image that is neither in the plan nor in the repository.
    let registry = start(Profile { children: pixi_oci_test_registry::fake::Children::Unchecked, ..Profile::plain() });
    let release = release(1);
    let mut plan = release.plan.clone();
    let gone = plan.images.pop().unwrap().manifest.descriptor.digest;
    plan.tags.retain(|step| step.target != gone);
    let error = setup(&registry).push(&registry.address, &plan).await.unwrap_err();
    assert!(registry.history().iter().all(|value| value.tag == "1.0.0-amd64"), "{:#?}", registry.history());
    assert!(!error.to_string().is_empty());
    let index = release.image.digest();
    assert!(!registry.content(REPOSITORY).1.iter().any(|digest| digest == index), "the index is not written");
}
