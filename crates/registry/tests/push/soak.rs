//! Many pushes over a bad network.

use pixi_oci_test_registry::{Fault, Kind, Profile, Rule, checker, fake::Auth, http::Response};

use super::fixture::{REPOSITORY, assert_never_incomplete, release, setup, start, variable};

/// Each request fails with a chance of one in five, in a way that may pass.
fn faults() -> Rule {
    let fault = Fault::OneOf(vec![
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::CutUpload(3),
        Fault::CutAnswer(1),
        Fault::Answer(Response::error(429, "TOOMANYREQUESTS").header("Retry-After", "1")),
        Fault::Answer(Response::new(500)),
        Fault::Answer(Response::new(502).body("text/html", "<html>Bad Gateway</html>")),
        Fault::DoneBut(Response::error(503, "UNAVAILABLE")),
        Fault::AnswerEarly(Response::new(504)),
    ]);
    Rule { kind: None, per_mille: 200, ..Rule::always(Kind::Ping, fault) }
}

/// Publishes so often, each time to a fresh registry with faults of its own, and gives why some were not published.
async fn soak(pushes: u64) -> Vec<String> {
    let seed = variable("PIXI_OCI_TEST_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let release = release(6);
    let auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
    let mut failed = Vec::new();
    for round in 0..pushes {
        let context = format!("seed {seed}, round {round}");
        let registry = start(Profile { auth, ..Profile::plain() });
        registry.seed(seed + round);
        registry.rules([faults()]);
        let setup = setup(&registry);
        let result = setup.push(&registry.address, &release.plan).await;
        assert_never_incomplete(&registry, &context);
        assert!(registry.history().iter().all(|value| release.image.manifests.iter().any(|m| m.0 == value.digest)));
        registry.heal();
        match result {
            Ok(_) => {
                assert_eq!(registry.tag(REPOSITORY, "latest").as_deref(), Some(release.image.digest()), "{context}");
                assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{context}");
            }
            Err(error) => {
                assert!(error.name().is_some(), "{context}: {error}");
                failed.push(format!("{context}: {error}"));
            }
        }
    }
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pushes_while_one_request_in_five_fails() {
    let failed = soak(100).await;
    // Whether a registry is there is asked five times at most: about one push in a hundred ends there. Four do once in fifty runs.
    assert!(failed.len() <= 3, "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: a thousand pushes"]
async fn a_thousand_pushes_while_one_request_in_five_fails() {
    let failed = soak(1000).await;
    assert!(failed.len() <= 10, "{failed:#?}");
}

#[tokio::test]
async fn what_was_published_through_faults_reads_well() {
    let release = release(3);
    let registry = start(Profile::plain());
    registry.rules([faults()]);
    setup(&registry).push(&registry.address, &release.plan).await.unwrap();
    registry.heal();
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags[&format!("{REPOSITORY}:latest")], release.image.digest());
    assert_eq!(found.tags.len(), 4);
}
