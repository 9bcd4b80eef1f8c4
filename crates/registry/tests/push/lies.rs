//! Registries that say yes and do something else: found out before `latest` moves.

use std::sync::Arc;

use pixi_oci_registry::Error;
use pixi_oci_test_registry::{Fault, Kind, Lie, Point, Profile, Rule, fake::Mount, sample};

use super::fixture::{BASE, REPOSITORY, assert_no_canary, release, setup, start, version};

/// Publishes 2.0.0 to a registry that has 1.0.0 and now lies, and gives how it was found out.
async fn lie(rule: Rule) -> (Error, String) {
    let registry = start(Profile::plain());
    let old = version("1.0.0", sample::image(2, 1));
    setup(&registry).push(&registry.address, &old.plan).await.unwrap();
    let new = version("2.0.0", sample::image(2, 3));
    let context = format!("{rule:?}");
    registry.rules([rule]);
    let setup = setup(&registry);
    let Err(error) = setup.push(&registry.address, &new.plan).await else { panic!("{context}: it was believed") };
    assert!(registry.log().iter().any(|entry| entry.faulty), "{context}");
    assert_eq!(registry.tag(REPOSITORY, "latest").as_deref(), Some(old.image.digest()), "{context}: latest moved");
    // The moving tag is only asked for once what is before it is sound; a lie about itself cannot come earlier.
    for value in registry.history().iter().filter(|value| value.tag == "latest") {
        assert_eq!(value.missing, Vec::<String>::new(), "{context}");
    }
    assert_no_canary(&format!("{error:?}"), &context);
    (error, context)
}

#[tokio::test]
async fn a_registry_that_drops_what_it_confirmed_is_found_out() {
    for kind in [Kind::UploadPut, Kind::ManifestPut] {
        let (error, context) = lie(Rule::always(kind, Fault::Lie(Lie::StoreNothing))).await;
        assert!(matches!(error.name(), Some("digest-mismatch")), "{context}: {error}");
    }
}

#[tokio::test]
async fn a_registry_that_changes_a_byte_of_a_manifest_is_found_out() {
    for kind in [Kind::ManifestPut, Kind::ManifestGet] {
        let (error, context) = lie(Rule::always(kind, Fault::Lie(Lie::OtherBytes))).await;
        assert_eq!(error.name(), Some("digest-mismatch"), "{context}: {error}");
    }
}

/// Right length, right digest in every header, other bytes: only reading finds that out.
#[tokio::test]
async fn a_registry_that_stores_or_sends_other_bytes_of_small_blobs_is_found_out() {
    for kind in [Kind::UploadPut, Kind::BlobGet] {
        let (error, context) = lie(Rule::always(kind, Fault::Lie(Lie::OtherBytes))).await;
        assert_eq!(error.name(), Some("digest-mismatch"), "{context}: {error}");
        assert!(error.to_string().contains("confirmed it and sends sha256:"), "{context}: {error}");
    }
}

/// Reading a large one back would cost as much as sending it.
#[tokio::test]
async fn what_is_read_back_is_small() {
    let release = version("1.0.0", sample::image_of(2, &[100, 1 << 20, (1 << 20) + 1]));
    let registry = start(Profile::plain());
    setup(&registry).push(&registry.address, &release.plan).await.unwrap();
    let read = |digest: &str| {
        let mut log = registry.log().into_iter();
        log.any(|entry| entry.kind == Kind::BlobGet && entry.target.ends_with(digest))
    };
    for (digest, bytes) in &release.image.blobs {
        assert_eq!(read(digest), bytes.len() <= 1 << 20, "{digest} of {} bytes", bytes.len());
    }
    assert!(release.image.blobs.values().any(|bytes| bytes.len() == (1 << 20) + 1));
}

#[tokio::test]
async fn a_registry_that_names_another_digest_is_found_out() {
    for kind in [Kind::ManifestPut, Kind::ManifestGet, Kind::ManifestHead, Kind::BlobHead] {
        let (error, context) = lie(Rule::always(kind, Fault::Lie(Lie::WrongDigest))).await;
        assert!(matches!(error.name(), Some("digest-mismatch" | "tag-exists")), "{context}: {error}");
    }
}

#[tokio::test]
async fn gitea_35853_a_tag_that_silently_stays_is_found_out() {
    // The tags of the architectures, the version, and `latest` itself.
    for tag in ["2.0.0-amd64", "2.0.0", "latest"] {
        let rule = Rule::always(Kind::ManifestPut, Fault::Lie(Lie::TagStays));
        let (error, context) = lie(Rule { target: format!("/manifests/{tag}"), ..rule }).await;
        assert_eq!(error.name(), Some("digest-mismatch"), "{context}: {error}");
    }
}

#[tokio::test]
async fn what_says_yes_to_everything_is_no_registry() {
    let registry = start(Profile::plain());
    registry.rules([Rule { kind: None, ..Rule::always(Kind::Ping, Fault::Lie(Lie::YesToEverything)) }]);
    let error = setup(&registry).push(&registry.address, &release(1).plan).await.unwrap_err();
    assert!(matches!(error.name(), Some("not-a-registry" | "digest-mismatch" | "tag-exists")), "{error}");
    // Only the ping is honest.
    registry.heal();
    let yes = Rule { skip: 1, kind: None, ..Rule::always(Kind::Ping, Fault::Lie(Lie::YesToEverything)) };
    registry.clear_log();
    registry.rules([yes]);
    let error = setup(&registry).push(&registry.address, &release(1).plan).await.unwrap_err();
    assert!(!registry.log().iter().any(|entry| entry.target.ends_with("/latest") && entry.method == "PUT"), "{error}");
}

#[tokio::test]
async fn old_giteas_mounts_are_not_believed() {
    let release = release(3);
    let registry = start(Profile { mount: Mount::Lies, ..Profile::plain() });
    for (digest, bytes) in &release.image.blobs {
        registry.put_blob(BASE, digest, bytes);
    }
    let mut plan = release.plan.clone();
    plan.mount_from = vec![BASE.into()];
    let report = setup(&registry).push(&registry.address, &plan).await.unwrap();
    assert!(report.mounted.is_empty() && report.uploaded.len() == release.image.blobs.len(), "{report:#?}");
    assert_eq!(registry.broken_tags(), Vec::<String>::new());
}

#[tokio::test]
async fn a_blob_of_another_size_is_not_ours() {
    let release = release(1);
    let registry = start(Profile::plain());
    let (digest, _) = release.image.blobs.iter().next().unwrap();
    registry.put_blob(REPOSITORY, digest, b"something else");
    let error = setup(&registry).push(&registry.address, &release.plan).await.unwrap_err();
    assert_eq!(error.name(), Some("digest-mismatch"), "{error}");
    assert!(registry.history().is_empty());
}

#[tokio::test]
async fn a_blob_that_a_cleaner_took_during_the_push_is_sent_again() {
    let release = release(2);
    let clean = start(Profile::plain());
    setup(&clean).push(&clean.address, &release.plan).await.unwrap();
    let first = clean.log().iter().find(|entry| entry.kind == Kind::ManifestPut).unwrap().number;
    // It was there when it was asked for, and is gone when the manifest comes.
    let registry = start(Profile::plain());
    let (cleaned, blob) = (Arc::downgrade(&registry), release.image.blobs.keys().next().unwrap().clone());
    registry.at(first - 1, Point::After, move |_| cleaned.upgrade().unwrap().lose(REPOSITORY, &blob));
    setup(&registry).push(&registry.address, &release.plan).await.unwrap();
    let refused = registry.log().iter().filter(|entry| entry.status == Some(400)).count();
    assert_eq!((refused, registry.broken_tags()), (1, Vec::new()));
}
