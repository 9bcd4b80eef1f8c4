//! What a push costs in requests and bytes.

use pixi_oci_registry::push::{PushPlan, TagStep};
use pixi_oci_test_registry::{Kind, Profile, sample};

use super::fixture::{release, setup, start, version};

#[tokio::test]
async fn a_second_push_asks_little_and_sends_no_blob() {
    let release = release(6);
    for profile in [Profile::plain(), Profile::distribution_2_8(), Profile::gitea()] {
        let name = profile.name;
        let registry = start(profile);
        let mut setup = setup(&registry);
        setup.push(&registry.address, &release.plan).await.unwrap();
        registry.clear_log();
        let report = setup.push(&registry.address, &release.plan).await.unwrap();
        let (blobs, manifests, tags) =
            (release.image.blobs.len(), release.image.manifests.len(), release.plan.tags.len());
        let requests = registry.log().len();
        // Of the manifests one is the index. Those of images have tags of their own, which tell that they are there.
        assert!(requests <= 4 + tags + (manifests - 1), "{name}: {requests} requests: {:#?}", lines(&registry));
        assert_eq!(report.present.len(), blobs, "{name}");
        let sent: usize =
            registry.log().iter().filter(|entry| entry.kind != Kind::Token).map(|entry| entry.received).sum();
        assert_eq!((sent, report.uploaded.len()), (0, 0), "{name}");
        assert_eq!(report.requests, requests as u64, "{name}: the report counts what the registry counts");

        registry.clear_log();
        setup.options.check_blobs = true;
        setup.push(&registry.address, &release.plan).await.unwrap();
        let asked = registry.log().iter().filter(|entry| entry.kind == Kind::BlobHead).count();
        assert_eq!(asked, blobs, "{name}: `check-blobs` asks for every blob once");
    }
}

#[tokio::test]
async fn a_new_tag_of_what_is_there_asks_for_no_blob() {
    let registry = start(Profile::plain());
    let setup = setup(&registry);
    let old = release(6);
    setup.push(&registry.address, &old.plan).await.unwrap();
    registry.clear_log();
    let tags = old.plan.tags.iter().map(|step| TagStep { tag: format!("next-{}", step.tag), ..step.clone() });
    let report = setup.push(&registry.address, &PushPlan { tags: tags.collect(), ..old.plan.clone() }).await.unwrap();
    assert!(registry.log().iter().all(|entry| entry.kind != Kind::BlobHead), "{:#?}", lines(&registry));
    assert_eq!((report.uploaded.len(), report.manifests.len()), (0, 0));
    assert_eq!(registry.broken_tags(), Vec::<String>::new());
}

#[tokio::test]
async fn a_first_push_asks_no_more_than_four_times_for_a_blob() {
    let release = release(6);
    let registry = start(Profile::plain());
    setup(&registry).push(&registry.address, &release.plan).await.unwrap();
    let (blobs, manifests, tags) = (release.image.blobs.len(), release.image.manifests.len(), release.plan.tags.len());
    let requests = registry.log().len();
    // A blob: HEAD, POST, PUT, HEAD. A manifest: HEAD, PUT, GET. A tag: HEAD before everything, again before it is set
    // if it must not change, PUT, GET. And the ping.
    assert!(requests <= 4 * blobs + 3 * manifests + 4 * tags + 1, "{requests}: {:#?}", lines(&registry));
}

#[tokio::test]
async fn one_more_layer_is_all_that_is_sent() {
    let registry = start(Profile::plain());
    let setup = setup(&registry);
    let (old, new) = (version("1.0.0", sample::image(2, 5)), version("1.1.0", sample::image(2, 6)));
    setup.push(&registry.address, &old.plan).await.unwrap();
    let report = setup.push(&registry.address, &new.plan).await.unwrap();
    // For each architecture the layer and the configuration.
    assert_eq!(report.uploaded.len(), 4, "{report:#?}");
    assert_eq!(report.present.len(), 10, "{report:#?}");
}

fn lines(registry: &pixi_oci_test_registry::Registry) -> Vec<String> {
    registry.log().iter().map(|entry| entry.line()).collect()
}
