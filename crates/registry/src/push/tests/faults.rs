//! Registries and networks that fail, and registries that lie.

use std::time::Duration;

use pixi_oci_test_registry::{Fault, Kind, Lie, Profile, Registry, Rule, fake::Auth, http::Response, sample};

use crate::{
    error::{Error, ErrorKind},
    event::Event,
    push::push,
    testing::{Setup, push_to, release, run},
};

/// The requests of a push.
const KINDS: [Kind; 9] = [
    Kind::Ping,
    Kind::Token,
    Kind::BlobHead,
    Kind::UploadStart,
    Kind::Mount,
    Kind::UploadPut,
    Kind::ManifestHead,
    Kind::ManifestPut,
    Kind::ManifestGet,
];

fn tokens() -> Profile {
    Profile {
        auth: Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true },
        ..Profile::plain()
    }
}

/// A push of which one request meets a fault: the registry, and how it ended.
fn meet(kind: Kind, fault: &Fault, times: usize) -> (Registry, Result<crate::push::PushReport, Error>, Vec<Duration>) {
    let registry = Registry::start(tokens());
    let (image, dir) = (sample::image(2, 2), tempfile::tempdir().unwrap());
    let mut plan = release(&image, dir.path(), "1.0.0");
    // Where it is asked for a link, the registry opens an upload at once.
    plan.mount_from.extend((kind == Kind::Mount).then(|| "x/y".into()));
    registry.rules([Rule { times, ..Rule::once(kind, fault.clone()) }]);
    let tested = Setup::default().connect(&registry.reference("a/b"));
    let result = run(push(&plan, &tested.registry));
    let waits = tested.clock.waits.lock().unwrap().clone();
    // Whatever happened: no tag ever named something incomplete, and no tag is there before everything is.
    for value in registry.history() {
        assert_eq!(value.missing, [""; 0], "{kind:?} {fault:?}");
    }
    if result.is_ok() {
        assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(image.digest()), "{kind:?} {fault:?}");
    } else {
        assert_eq!(registry.tag("a/b", "latest"), None, "{kind:?} {fault:?}");
    }
    (registry, result, waits)
}

#[test]
fn what_may_pass_is_tried_again_at_every_kind_of_request() {
    let statuses = [408, 429, 499, 500, 502, 503, 504, 522].map(|status| Fault::Answer(Response::error(status, "X")));
    let connections = [Fault::ResetBefore, Fault::ResetAfter, Fault::CutUpload(20), Fault::CutAnswer(1)];
    let answers = [Fault::DoneBut(Response::error(502, "X")), Fault::AnswerEarly(Response::error(503, "X"))];
    for kind in KINDS {
        for fault in statuses.iter().chain(&connections).chain(&answers) {
            let (_, result, _) = meet(kind, fault, 1);
            assert!(result.is_ok(), "{kind:?} {fault:?}: {}", result.unwrap_err());
        }
    }
}

#[test]
fn what_does_not_pass_ends_the_push_with_a_name() {
    for kind in KINDS {
        for (status, name) in [(503, Some("registry-down")), (429, Some("rate-limited"))] {
            let (_, result, waits) = meet(kind, &Fault::Answer(Response::error(status, "X")), usize::MAX);
            let error = result.unwrap_err();
            assert_eq!(error.name(), name, "{kind:?} {status}: {error}");
            // Three at a time, and ten attempts each.
            assert!(waits.len() <= 3 * 9, "{kind:?}: {waits:?}");
        }
    }
    for (kind, status, code, name) in [
        (Kind::Ping, 404, "X", Some("not-a-registry")),
        (Kind::Token, 401, "UNAUTHORIZED", Some("auth-denied")),
        (Kind::Token, 403, "DENIED", Some("auth-denied")),
        (Kind::BlobHead, 403, "DENIED", Some("auth-denied")),
        (Kind::UploadStart, 403, "DENIED", Some("auth-denied")),
        (Kind::UploadStart, 404, "NAME_UNKNOWN", Some("no-repository")),
        (Kind::UploadPut, 413, "X", Some("too-large")),
        (Kind::UploadPut, 507, "X", Some("quota")),
        (Kind::ManifestPut, 413, "X", Some("too-large")),
        (Kind::ManifestPut, 400, "MANIFEST_INVALID", None),
        (Kind::ManifestPut, 400, "MANIFEST_BLOB_UNKNOWN", Some("digest-mismatch")),
    ] {
        let (_, result, _) = meet(kind, &Fault::Answer(Response::error(status, code)), usize::MAX);
        let error = result.unwrap_err();
        assert_eq!(error.name(), name, "{kind:?} {status}: {error}");
    }
    // A limit that is said with 403 is waited for.
    let limit = Fault::Answer(Response::new(403).body("text/plain", "You have exceeded a secondary rate limit"));
    let (_, result, waits) = meet(Kind::UploadPut, &limit, 1);
    assert!(result.is_ok() && waits.iter().any(|wait| *wait >= Duration::from_secs(60)), "{waits:?}");
    // So is a refusal that is nobody's fault.
    assert!(meet(Kind::UploadPut, &Fault::Answer(Response::error(403, "DENIED")), 1).1.is_ok());
    // A blob that was cleaned away in between is sent again.
    assert!(meet(Kind::ManifestPut, &Fault::Answer(Response::error(404, "MANIFEST_BLOB_UNKNOWN")), 1).1.is_ok());
}

#[test]
fn a_registry_is_never_asked_before_it_wants_to() {
    let in_seven = Response::error(429, "TOOMANYREQUESTS").header("Retry-After", "7");
    let (_, result, waits) = meet(Kind::BlobHead, &Fault::Answer(in_seven), 3);
    result.unwrap();
    assert!(waits.iter().filter(|wait| **wait >= Duration::from_secs(7)).count() >= 3, "{waits:?}");
    let dates = Response::error(503, "X")
        .header("Date", "Wed, 21 Oct 2015 07:28:00 GMT")
        .header("Retry-After", "Wed, 21 Oct 2015 07:28:40 GMT");
    let (_, result, waits) = meet(Kind::ManifestPut, &Fault::Answer(dates), 1);
    result.unwrap();
    assert!(waits.contains(&Duration::from_secs(40)), "{waits:?}");
    // For an hour we do not wait.
    let hour = Response::error(429, "X").header("Retry-After", "3600");
    let (_, result, waits) = meet(Kind::UploadStart, &Fault::Answer(hour), 1);
    let error = result.unwrap_err();
    assert!(error.name() == Some("rate-limited") && error.to_string().contains("3600 seconds"), "{error}");
    assert!(waits.is_empty(), "{waits:?}");
}

#[test]
fn what_stands_still_is_given_up_and_tried_again() {
    for (kind, fault) in [
        (Kind::UploadPut, Fault::Stall),
        (Kind::BlobHead, Fault::Stall),
        (Kind::ManifestGet, Fault::StallAnswer),
        (Kind::Token, Fault::Stall),
    ] {
        let (_, result, _) = meet(kind, &fault, 1);
        assert!(result.is_ok(), "{kind:?} {fault:?}: {}", result.unwrap_err());
    }
}

#[test]
fn a_registry_that_lies_is_found_out_before_latest_moves() {
    for (kind, lie, name) in [
        (Kind::UploadPut, Lie::StoreNothing, "digest-mismatch"),
        (Kind::UploadPut, Lie::OtherBytes, "digest-mismatch"),
        (Kind::BlobGet, Lie::OtherBytes, "digest-mismatch"),
        (Kind::ManifestPut, Lie::StoreNothing, "digest-mismatch"),
        (Kind::ManifestPut, Lie::OtherBytes, "digest-mismatch"),
        (Kind::ManifestPut, Lie::WrongDigest, "digest-mismatch"),
        (Kind::ManifestPut, Lie::TagStays, "digest-mismatch"),
        (Kind::ManifestGet, Lie::OtherBytes, "digest-mismatch"),
        (Kind::ManifestGet, Lie::WrongDigest, "digest-mismatch"),
        (Kind::BlobHead, Lie::YesToEverything, "digest-mismatch"),
    ] {
        let (_, result, _) = meet(kind, &Fault::Lie(lie), usize::MAX);
        let Err(error) = result else { panic!("{kind:?} {lie:?} is believed") };
        let named = error.name() == Some(name) || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NoRepository);
        assert!(named, "{kind:?} {lie:?}: {error}");
    }
    let registry = Registry::start(Profile::plain());
    registry.rules([Rule {
        kind: None,
        times: usize::MAX,
        ..Rule::once(Kind::Ping, Fault::Lie(Lie::YesToEverything))
    }]);
    let (image, dir) = (sample::image(1, 1), tempfile::tempdir().unwrap());
    let error = push_to(&registry.reference("a/b"), &release(&image, dir.path(), "1.0.0")).unwrap_err();
    assert!(!registry.log().iter().any(|entry| entry.target.ends_with("latest") && entry.kind.mutates()), "{error}");
    // A page for logging in, with status 200.
    let page = Response::new(200).body("text/html; charset=utf-8", "<!doctype html><title>Sign in</title>");
    let (_, result, _) = meet(Kind::Ping, &Fault::Answer(page), usize::MAX);
    assert_eq!(result.unwrap_err().name(), Some("not-a-registry"));
    let login = Response::new(302).header("Location", "http://127.0.0.1:1/login");
    let (_, result, _) = meet(Kind::Ping, &Fault::Answer(login), usize::MAX);
    assert_eq!(result.unwrap_err().name(), Some("not-a-registry"));
}

#[test]
fn tokens_that_end_are_replaced_by_one_new_one() {
    for (expires_in, uses) in [(Some(300), Some(8)), (Some(1), None), (Some(0), Some(12)), (None, Some(10))] {
        let auth = Auth::Bearer { expires_in, uses, elsewhere: false, post: true };
        let registry = Registry::start(Profile { auth, ..Profile::plain() });
        let (image, dir) = (sample::image(2, 3), tempfile::tempdir().unwrap());
        push_to(&registry.reference("a/b"), &release(&image, dir.path(), "1.0.0"))
            .unwrap_or_else(|error| panic!("{expires_in:?} {uses:?}: {error}"));
        assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(image.digest()));
        let log = registry.log();
        let asked = log.iter().filter(|entry| entry.kind == Kind::Token).count();
        let refused = log.iter().filter(|entry| entry.status == Some(401)).count();
        if expires_in != Some(0) {
            // One for each that was refused, and at most one for each.
            assert!(asked <= refused.max(1), "{expires_in:?} {uses:?}: {asked} tokens, {refused} refusals");
        }
    }
}

#[test]
fn a_password_is_sent_to_the_registry_and_the_token_service_only() {
    let registry = Registry::start(Profile { redirects_blobs: true, ..Profile::gitlab() });
    let (image, dir) = (sample::image(1, 2), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let tested = Setup::default().connect(&registry.reference("a/b"));
    run(async {
        push(&plan, &tested.registry).await.unwrap();
        let layer = &plan.images[0].layers[0];
        let mut file = tempfile::tempfile().unwrap();
        tested.registry.fetch_blob(&layer.descriptor, &mut file).await.unwrap();
        let config = &plan.images[0].config;
        assert_eq!(tested.registry.fetch_document(&config.descriptor).await.unwrap(), config.bytes);
    });
    let log = registry.log();
    let elsewhere: Vec<_> = log.iter().filter(|entry| entry.elsewhere).collect();
    assert!(
        elsewhere.iter().any(|entry| entry.kind == Kind::UploadPut)
            && elsewhere.iter().any(|entry| entry.kind == Kind::Token)
    );
    for entry in elsewhere {
        assert_eq!(entry.who.is_empty(), entry.kind != Kind::Token, "{}", entry.line());
        assert_eq!(entry.header("cookie"), None);
    }
    let told = tested.events.lock().unwrap().iter().filter(|event| matches!(event, Event::TokenService { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn a_local_file_that_changed_is_not_published() {
    let registry = Registry::start(Profile::plain());
    let (image, dir) = (sample::image(1, 1), tempfile::tempdir().unwrap());
    let plan = release(&image, dir.path(), "1.0.0");
    let file = plan.images[0].layers[0].source.clone().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = push_to(&registry.reference("a/b"), &plan).unwrap_err();
    assert_eq!(error.name(), Some("digest-mismatch"), "{error}");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = push_to(&registry.reference("a/b"), &plan).unwrap_err();
    assert!(error.kind() == ErrorKind::Read, "{error}");
    assert_eq!(registry.history(), []);
}

#[test]
fn a_hundred_pushes_of_which_every_fifth_request_fails() {
    let image = sample::image(2, 6);
    let dir = tempfile::tempdir().unwrap();
    let plan = release(&image, dir.path(), "1.0.0");
    let mut failed = 0;
    for seed in 1..=100 {
        let registry = Registry::start(tokens());
        registry.seed(seed);
        let faults = vec![
            Fault::Answer(Response::error(503, "X")),
            Fault::Answer(Response::error(429, "X")),
            Fault::ResetBefore,
            Fault::ResetAfter,
            Fault::CutUpload(30),
            Fault::DoneBut(Response::error(500, "X")),
        ];
        registry.rules([Rule { kind: None, per_mille: 200, ..Rule::always(Kind::Ping, Fault::OneOf(faults)) }]);
        match push_to(&registry.reference("a/b"), &plan) {
            Ok(_) => assert_eq!(registry.tag("a/b", "latest").as_deref(), Some(image.digest()), "seed {seed}"),
            Err(error) => {
                assert!(error.name().is_some(), "seed {seed}: {error}");
                failed += 1;
            }
        }
        assert!(registry.history().iter().all(|value| value.missing.is_empty()), "seed {seed}");
    }
    assert!(failed <= 1, "{failed} of 100 pushes failed");
}

#[test]
fn warnings_of_the_registry_are_passed_on_once() {
    let registry = Registry::start(Profile::plain());
    let warning = Response::new(404).header("Warning", "299 - \"the disk is nearly full\"");
    registry.rules([Rule { times: 3, ..Rule::once(Kind::BlobHead, Fault::Answer(warning)) }]);
    let (image, dir) = (sample::image(1, 3), tempfile::tempdir().unwrap());
    let tested = Setup::default().connect(&registry.reference("a/b"));
    run(push(&release(&image, dir.path(), "1.0.0"), &tested.registry)).unwrap();
    let events = tested.events.lock().unwrap();
    let warnings: Vec<_> = events.iter().filter(|event| matches!(event, Event::Warning(_))).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}
