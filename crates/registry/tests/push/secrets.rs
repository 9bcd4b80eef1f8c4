//! Secrets are in no event, no error and no request but those that need them.

use pixi_oci_test_registry::{Fault, Kind, Profile, Rule, fake::Auth, http::Response};

use super::fixture::{assert_no_canary, release, setup, start};

/// Credentials were sent to the registry and to its token service only, and nothing repeats them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_runs_say_nothing_secret() {
    let release = release(2);
    // Registries that send back what they were sent, in every place that a client may print.
    let echo = |status: u16| {
        let body = "canary-password canary-token-1 Basic cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk";
        Response::error(status, "DENIED").header("Warning", format!("299 - \"{body}\"")).body("text/plain", body)
    };
    let mut runs = 0;
    for profile in Profile::all() {
        for kind in [
            Kind::Ping,
            Kind::Token,
            Kind::BlobHead,
            Kind::UploadStart,
            Kind::UploadPut,
            Kind::ManifestPut,
            Kind::ManifestGet,
        ] {
            let context = format!("{} {kind:?}", profile.name);
            let registry = start(profile.clone());
            registry.rules([Rule::always(kind, Fault::ResetAfter), Rule::always(Kind::Tags, Fault::Answer(echo(500)))]);
            let setup = setup(&registry);
            let result = setup.push(&registry.address, &release.plan).await;
            let said =
                format!("{result:?} {:?} {:?} {:?}", setup.events.lock().unwrap(), setup.options, setup.credentials);
            assert_no_canary(&said, &context);
            for entry in registry.log() {
                let private = entry.elsewhere && entry.kind != Kind::Token;
                assert!(!private || entry.who.is_empty(), "{context}: {entry:#?}");
                assert_no_canary(&entry.target.replace("canary-signature", ""), &context);
            }
            runs += 1;
        }
    }
    assert!(runs >= 100, "{runs}");
}

#[tokio::test]
async fn cve_2026_50151_uploads_elsewhere_get_no_credentials() {
    let auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
    let registry = start(Profile { auth, ..Profile::gitlab() });
    setup(&registry).push(&registry.address, &release(2).plan).await.unwrap();
    let elsewhere: Vec<_> = registry.log().into_iter().filter(|entry| entry.elsewhere).collect();
    assert!(!elsewhere.is_empty());
    for entry in elsewhere {
        assert_eq!((entry.who.as_str(), entry.header("cookie")), ("", None), "{entry:#?}");
    }
}
