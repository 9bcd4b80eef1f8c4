//! The registries that people use, with all their quirks: publishing works, and works again, without a setting.

use pixi_oci_test_registry::{Kind, Profile, checker, fake::Auth, sample};

use super::fixture::{BASE, REPOSITORY, assert_never_incomplete, release, setup, start, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_registry_takes_a_release_and_the_next() {
    let (first, second) = (version("1.0.0", sample::image(2, 3)), version("1.1.0", sample::image(2, 4)));
    for profile in Profile::all() {
        let name = profile.name;
        let immutable = profile.immutable_tags;
        let registry = start(profile);
        for (digest, bytes) in second.image.blobs.iter().take(3) {
            registry.put_blob(BASE, digest, bytes);
        }
        let setup = setup(&registry);
        let push = async |plan| setup.push(&registry.address, plan).await;
        push(&first.plan).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut plan = second.plan.clone();
        plan.mount_from = vec![BASE.into()];
        if immutable {
            // The rule of this project is for all its tags.
            plan.tags.retain(|step| step.tag != "latest");
        }
        push(&plan).await.unwrap_or_else(|error| panic!("{name}, next: {error}"));
        push(&plan).await.unwrap_or_else(|error| panic!("{name}, again: {error}"));
        assert_never_incomplete_but_for_moves(&registry, name);
        let tag = registry.tag(REPOSITORY, "1.1.0");
        assert_eq!(tag.as_deref(), Some(second.image.digest()), "{name}");
        // No request went elsewhere with credentials: the registry would have refused it, and nobody tried.
        for entry in registry.log().iter().filter(|entry| entry.elsewhere && entry.kind != Kind::Token) {
            assert_eq!(entry.who, "", "{name}: {entry:#?}");
        }
    }
}

/// As [`assert_never_incomplete`], for several pushes.
fn assert_never_incomplete_but_for_moves(registry: &pixi_oci_test_registry::Registry, context: &str) {
    registry.clear_log();
    assert_never_incomplete(registry, context);
    assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{context}");
}

#[tokio::test]
async fn pieces_work_where_registries_take_them() {
    let release = release(2);
    for profile in Profile::all() {
        let name = profile.name;
        let expected = !matches!(name, "ecr" | "gar");
        let registry = start(profile);
        let mut setup = setup(&registry);
        setup.options.chunk_size = Some(30);
        let result = setup.push(&registry.address, &release.plan).await;
        assert_eq!(result.is_ok(), expected, "{name}: {result:?}");
        assert!(registry.history().iter().all(|value| value.missing.is_empty()), "{name}");
        assert!(registry.log().iter().any(|entry| entry.kind == Kind::UploadPatch), "{name}");
    }
}

#[tokio::test]
async fn tokens_that_die_all_the_time_are_renewed() {
    let release = release(6);
    // A token must do for the three requests that wait for it at once.
    for (expires_in, uses) in [(Some(1), Some(4)), (None, Some(5)), (Some(60), Some(7)), (Some(0), Some(4))] {
        let auth = Auth::Bearer { expires_in, uses, elsewhere: true, post: true };
        let registry = start(Profile { auth, ..Profile::plain() });
        let report = setup(&registry).push(&registry.address, &release.plan).await;
        report.unwrap_or_else(|error| panic!("{expires_in:?} {uses:?}: {error}"));
        assert_eq!(registry.broken_tags(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn one_token_serves_all_uploads_at_once() {
    let auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
    let registry = start(Profile { auth, ..Profile::plain() });
    setup(&registry).push(&registry.address, &release(12).plan).await.unwrap();
    let tokens = registry.log().iter().filter(|entry| entry.kind == Kind::Token).count();
    assert_eq!(tokens, 1);
    checker_refuses(&registry.address);
}

/// The registry is not open by mistake.
fn checker_refuses(address: &str) {
    assert_eq!(checker::check(address).tags.len(), 0);
}
