//! Base images in registries: who is told which secret, and how the registries are reached.

use std::fs;

use pixi_oci_test_registry::{
    Fault, Kind, Profile, Registry, Rule, checker,
    docker::{Docker, PASSWORD, USER},
    http::Response,
};

use super::*;
use crate::common::channel_server::Proxy;

/// Publishes an image that others are built on; its name with digest.
fn base(sandbox: &Sandbox, to: &str, arguments: &[&str]) -> String {
    let tool = package("basetool", [file("bin/basetool", "x").mode(0o755)]);
    workspace([tool]).oci("prefix = \"/usr/base\"").write(&sandbox.path("base"));
    let mut command = sandbox.pixi_oci(&[&["publish", "base", "--publish", "--to", to], arguments].concat());
    command.env("VERSION", "1.0.0").env("REGISTRY_USER", USER).env("REGISTRY_TOKEN", PASSWORD);
    format!("docker://{}", Outcome::of(&mut command).success().stdout.trim())
}

/// A workspace `ws` on that base, which is published with a token command.
fn write_on(sandbox: &Sandbox, base: &str) {
    let command = format!(r#"token-command = ["sh", "-c", "echo >> ran; echo {PASSWORD}"]"#);
    workspace([package("tool", [])]).oci_only(&format!("base = {base:?}\n{command}")).write(&sandbox.path("ws"));
}

/// What the base's registry would take, if anybody told it, as all variables that mean the other registry.
fn secrets(command: &mut std::process::Command) -> Outcome {
    Outcome::of(command.env("VERSION", "2.0.0").env("REGISTRY_USER", USER).env("REGISTRY_TOKEN", PASSWORD))
}

#[test]
fn the_token_for_publishing_is_never_shown_to_the_registry_of_a_base_image() {
    // Tokens from its own host, from another one, and basic authentication.
    for profile in [Profile::gitea(), Profile::docker_hub(), Profile::zot()] {
        let name = profile.name;
        let (registry, target) = (Registry::start(profile), Registry::start(Profile::gitea()));
        let sandbox = Sandbox::new();
        let base = base(&sandbox, &registry.reference("team/base"), &[]);
        write_on(&sandbox, &base);
        let to = target.reference("me/app");
        let unpinned = base.split('@').next().unwrap();
        registry.clear_log();

        let build = ["build", "ws", "-o", "oci:out"];
        let token_command = r#"token-command=["sh", "-c", "echo >> ran; echo canary"]"#;
        for arguments in [
            &build[..],
            &["publish", "ws", "--to", &to],
            &["publish", "ws", "--to", &to, "--publish"],
            &["publish", "ws", "--to", &to, "--publish", "--arch", "amd64", "--leg-file", "leg"],
            // What is only looked at is no base image, and the same holds.
            &["verify", "image", &base],
        ] {
            secrets(&mut sandbox.pixi_oci(arguments)).refused(1, &[&registry.address]);
        }
        // Pinning; and with nothing but the token command.
        write_on(&sandbox, &format!("{unpinned}:latest"));
        secrets(&mut sandbox.pixi_oci(&["lock", "--base", "ws"])).refused(1, &[&registry.address]);
        sandbox.run(&build).refused(1, &[&registry.address]);
        assert!(!sandbox.path("ran").exists(), "{name}: the token command is for publishing");
        write_on(&sandbox, &base);
        let mut command = sandbox.pixi_oci(&["publish", "ws", "--to", &to, "--login", "--set", token_command]);
        Outcome::of(command.env("VERSION", "2.0.0")).refused(1, &[]);

        let log = registry.log();
        assert!(log.iter().any(|entry| entry.status == Some(401)), "{name}: it asks for credentials: {log:#?}");
        assert!(log.iter().all(|entry| entry.who.is_empty()), "{name}: {log:#?}");
        assert!(target.tag("me/app", "2.0.0").is_none(), "{name}");
        registry.clear_log();

        // A login for the base's registry is for it, and the token for the other one.
        let login = format!(r#"{{"auths": {{"{}": {{"auth": "{AUTH}"}}}}}}"#, registry.address);
        fs::create_dir_all(sandbox.home().join(".docker")).unwrap();
        fs::write(sandbox.home().join(".docker/config.json"), login).unwrap();
        sandbox.run(&build).success();
        sandbox.run(&["verify", "image", &base]).success();
        let mut command = sandbox.pixi_oci(&["publish", "ws", "--to", &to, "--publish", "--cache-dir", "c2"]);
        let outcome = secrets(&mut command).success();
        assert_eq!(target.tag("me/app", "2.0.0").as_deref(), Some(outcome.digest()), "{name}");
        assert!(registry.log().iter().any(|entry| entry.who == USER), "{name}: {:#?}", registry.log());
    }
}

/// robot:canary-password
const AUTH: &str = "cm9ib3Q6Y2FuYXJ5LXBhc3N3b3Jk";

#[test]
fn a_base_image_behind_a_private_authority() {
    let Some(registry) = Docker::start(Mode::Tls) else { return };
    let ca = registry.ca_file.clone().unwrap();
    let ca = ca.to_str().unwrap();
    let sandbox = Sandbox::new();
    let base = base(&sandbox, &registry.reference("base"), &["--ca-file", ca]);
    write_on(&sandbox, &base);
    let build = ["build", "ws", "-o", "oci:out"];
    sandbox.run(&build).refused(1, &[&registry.address, "certificate"]);
    let digest = sandbox.run(&[&build[..], &["--ca-file", ca]].concat()).success().digest().to_owned();
    // As podman and docker are told.
    let certificates = sandbox.home().join(".config/containers/certs.d").join(&registry.address);
    let other_cache = [&build[..], &["--cache-dir", "c2"]].concat();
    sandbox.run(&other_cache).refused(1, &["certificate"]);
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(ca, certificates.join("ca.crt")).unwrap();
    assert_eq!(sandbox.run(&other_cache).success().digest(), digest);
    fs::remove_dir_all(&certificates).unwrap();

    // Verifying and pinning reach it the same way.
    sandbox.run(&["verify", "image", &base]).refused(1, &["certificate"]);
    sandbox.run(&["verify", "image", &base, "--ca-file", ca]).success();
    let unpinned = base.split('@').next().unwrap();
    write_on(&sandbox, &format!("{unpinned}:1.0.0"));
    sandbox.run(&["lock", "--base", "ws"]).refused(1, &["certificate"]);
    sandbox.run(&["lock", "--base", "ws", "--ca-file", ca]).success();
    let manifest = fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    assert!(manifest.contains(base.split('@').nth(1).unwrap()), "{manifest}");
}

#[test]
fn a_base_image_over_plain_http() {
    let Some(registry) = docker() else { return };
    let sandbox = Sandbox::new();
    let base = base(&sandbox, &registry.reference("base"), &[]);
    write_on(&sandbox, &base.replace(&registry.address, "registry.example:5000"));
    // Only the proxy knows the name.
    let proxy = Proxy::new(&format!("http://{}", registry.address));
    let build = |arguments: &[&str]| {
        let mut command = sandbox.pixi_oci(&[&["build", "ws", "-o", "oci:out"], arguments].concat());
        Outcome::of(command.env("http_proxy", &proxy.address))
    };
    build(&[]).refused(1, &["registry.example:5000"]);
    assert!(proxy.requests().is_empty(), "it is asked with TLS only");
    build(&["--insecure-http", "registry.example:5000"]).success();
    assert!(!proxy.requests().is_empty());
    assert!(checker::check(&registry.address).tags.contains_key("base:latest"));
}

#[test]
fn a_registry_that_is_gone_need_not_be_asked_for_a_base_that_is_known() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::distribution_3_1()));
    let base = base(&sandbox, &registry.reference("base"), &[]);
    let tag = format!("{}:latest", base.split('@').next().unwrap());
    workspace([package("tool", [])]).oci_only(&format!("base = {tag:?}")).write(&sandbox.path("ws"));
    let build = |more: &[&str]| sandbox.run(&[&["build", "ws", "-o", "oci:out:x"], more].concat());
    let known = build(&[]).success();
    let down = Rule::always(Kind::Ping, Fault::Answer(Response::new(503).header("Retry-After", 3600)));
    registry.rules([down]);
    build(&[]).refused(1, &["cannot ask the registry", "--offline"]);
    assert_eq!(digest(&build(&["--offline"]).success()), digest(&known));
}
