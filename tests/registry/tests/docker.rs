//! docker-registry starts in every mode, lets in whom it should, and the checker finds what is wrong in it.

use std::process::Command;

use pixi_oci_test_registry::{
    checker, client,
    docker::{Docker, Mode, PASSWORD, USER},
    sample,
};

#[test]
fn every_mode_starts_and_asks_for_what_it_should() {
    for mode in Mode::ALL {
        let Some(docker) = Docker::start(mode) else { return };
        let scheme = if mode == Mode::Tls { "https" } else { "http" };
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).arg(format!("{scheme}://{}/v2/", docker.address));
        curl.args(docker.ca_file.iter().flat_map(|file| ["--cacert".into(), file.clone().into_os_string()]));
        let status = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        let expected = if matches!(mode, Mode::Plain | Mode::Tls) { "200" } else { "401" };
        assert_eq!(status, expected, "{mode:?}");
        assert_eq!(docker.requests_until("/v2/"), [format!("GET /v2/ {expected}")], "{mode:?}");
    }
}

#[test]
fn tokens_of_the_issuer_open_the_registry() {
    let Some(docker) = Docker::start(Mode::Token) else { return };
    let issuer = docker.issuer.as_ref().unwrap();
    let (address, _) = issuer.realm.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let basic = base64(&format!("{USER}:{PASSWORD}"));
    let scope = "/token?service=pixi-oci+test+registry&scope=repository:a/b:pull,push";
    let refused = client::request(address, "GET", scope, &[], b"");
    assert_eq!(refused.status, 401);
    let given = client::request(address, "GET", scope, &[("Authorization", &format!("Basic {basic}"))], b"");
    let token = format!("Bearer {}", given.json()["token"].as_str().unwrap());
    let push = |repository: &str| {
        let target = format!("/v2/{repository}/blobs/uploads/");
        client::request(&docker.address, "POST", &target, &[("Authorization", &token)], b"").status
    };
    assert_eq!((push("a/b"), push("a/c")), (202, 401), "{:#?}", docker.requests());
}

#[test]
fn the_checker_reads_what_is_stored_and_finds_what_is_missing() {
    let Some(mut docker) = Docker::start(Mode::Plain) else { return };
    let image = sample::image(2, 2);
    sample::upload(&docker.address, "a/b", &image, &["1.0.0", "latest"]);
    let found = checker::check(&docker.address).sound();
    assert_eq!(found.tags["a/b:1.0.0"], image.digest());
    assert_eq!(found.tags["a/b:latest"], image.digest());
    assert_eq!(found.reached.len(), image.blobs.len() + image.manifests.len());

    docker.kill_and_restart();
    assert_eq!(checker::check(&docker.open_view().address), found);

    let (gone, _) = image.blobs.iter().next().unwrap();
    let deleted = client::request(&docker.address, "DELETE", &format!("/v2/a/b/blobs/{gone}"), &[], b"");
    assert_eq!(deleted.status, 202);
    let found = checker::check(&docker.address);
    assert_eq!(found.findings.len(), 2, "{found:#?}");
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
