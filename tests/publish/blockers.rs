//! Every blocker by its name. What blocks leaves the registry as it was.

use std::collections::BTreeSet;

use pixi_oci_test_need::{From, need};
use pixi_oci_test_registry::{
    Fault, Kind, Lie, Profile, Registry, Rule, checker,
    docker::{PASSWORD, USER},
    http::Response,
};

use super::*;
use crate::common::{sandbox::has, server::serve};

#[track_caller]
fn blocked(outcome: Outcome, name: &str) {
    let line = format!("BLOCKER({name}): ");
    let outcome = outcome.refused(1, &[&line, "hint: "]);
    assert_eq!(outcome.stderr.lines().filter(|text| text.starts_with(&line)).count(), 1, "{}", outcome.stderr);
}

#[test]
fn empty_token_and_auth_denied() {
    let Some(registry) = Docker::start(Mode::Htpasswd) else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    let run = |token: &str| {
        let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "-v", "--to", &to]);
        Outcome::of(command.env("VERSION", "1.0.0").env("REGISTRY_TOKEN", token).env("REGISTRY_USER", USER))
    };
    blocked(run(""), "empty-token");
    let denied = run("canary-wrong-token");
    assert!(!denied.stderr.contains("canary"), "{}", denied.stderr);
    blocked(denied, "auth-denied");
    assert!(!sandbox.path("ws/dist").exists(), "nobody waits for a build that cannot be published");
    run(PASSWORD).success();
}

#[test]
fn registry_down_and_not_a_registry() {
    let sandbox = sandbox();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    blocked(publish(&sandbox, "1.0.0", &["--to", &format!("docker://127.0.0.1:{port}/app")]), "registry-down");
    let pages = serve(&sandbox.path("")).replace("http://", "docker://");
    blocked(publish(&sandbox, "1.0.0", &["--to", &format!("{pages}/app")]), "not-a-registry");
}

#[test]
fn tag_exists() {
    let Some(registry) = docker() else { return };
    let Some(other) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    let first = publish(&sandbox, "1.0.0", &["--publish", "--to", &to]).success();
    write(&sandbox, "2");
    for mode in ["--publish", "--json"] {
        // The other repository, which comes first, gets nothing either.
        let outcome = publish(&sandbox, "1.0.0", &[mode, "-q", "--to", &other.reference("app"), "--to", &to]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(&format!("BLOCKER(tag-exists): {}/app", registry.address)), "{outcome:?}");
    }
    assert_eq!(checker::check(&registry.address).sound().tags["app:1.0.0"], digest(&first));
    assert!(checker::check(&other.address).tags.is_empty());
}

#[test]
fn a_release_resolves_no_build_requirements() {
    let sandbox = sandbox();
    let resolve = ["--to", "docker://127.0.0.1:1/app", "--build-sdists=resolve"];
    blocked(publish(&sandbox, "1.2.3", &resolve), "unpinned-package");
    // Anything else may.
    blocked(publish(&sandbox, "1.2.3-rc1", &resolve), "registry-down");
}

#[test]
fn dev_tag() {
    let sandbox = sandbox();
    for (version, tag) in [("1.1.0-rc1", "latest"), ("1.1.0-rc1", "1.1.0"), ("1.1.0", "1.2.0"), ("1.1.0", "2")] {
        blocked(publish(&sandbox, version, &["--to", "docker://127.0.0.1:1/app", "--tag", tag]), "dev-tag");
    }
}

#[test]
fn unpinned_base() {
    let sandbox = Sandbox::new();
    workspace([]).oci_only("base = \"example.org/base:1\"\n").write(&sandbox.path("ws"));
    blocked(publish(&sandbox, "1.0.0", &["--to", "docker://127.0.0.1:1/app"]), "unpinned-base");
    // What it says to write is what works. A layout has a tag or a digest.
    let base = workspace([package("basetool", [])]).oci("prefix = \"/usr/base\"");
    base.write(&sandbox.path("base"));
    let digest = sandbox.build("base", "oci:layout:1").digest().to_owned();
    let on = |base: &str| {
        let more = "prefix = \"/usr/more\"\nworkdir = \"/more\"";
        workspace([]).oci_only(&format!("base = {base:?}\n{more}")).write(&sandbox.path("ws"));
    };
    let layout = sandbox.path("layout").display().to_string();
    for name in [format!("oci:{layout}:1"), format!("oci:{layout}")] {
        on(&name);
        let refused = publish(&sandbox, "1.0.0", &["--to", "docker://127.0.0.1:1/app"]);
        let (_, form) = refused.stderr.split_once("`base` (").expect("what to write");
        let form = form.split(')').next().unwrap().replace("sha256:…", &digest);
        assert_eq!(form, format!("oci:{layout}@{digest}"));
        on(&form);
        blocked(publish(&sandbox, "1.0.0", &["--to", "docker://127.0.0.1:1/app"]), "registry-down");
        sandbox.build("ws", "oci:out:x");
    }
    on("docker-archive:image.tar");
    let refused = publish(&sandbox, "1.0.0", &["--to", "docker://127.0.0.1:1/app"]);
    assert!(refused.stderr.contains("oci:DIR") && !refused.stderr.contains("@sha256"), "{}", refused.stderr);
    blocked(refused, "unpinned-base");
    // A development version may have one.
    on("example.org/base:1");
    blocked(publish(&sandbox, "1.0.0-dev", &["--to", "docker://127.0.0.1:1/app"]), "registry-down");
}

#[test]
fn what_registries_refuse() {
    let refusal = |status: u16, code: &str| {
        let body = serde_json::json!({"errors": [{"code": code, "message": "no"}]});
        Response::new(status).json(&body)
    };
    for (name, rules) in [
        (
            "quota",
            vec![Rule::always(
                Kind::UploadPut,
                Fault::Answer(
                    refusal(403, "DENIED")
                        .body("application/json", r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#),
                ),
            )],
        ),
        ("too-large", vec![Rule::always(Kind::UploadPut, Fault::Answer(Response::new(413)))]),
        (
            "rate-limited",
            vec![Rule::always(
                Kind::UploadStart,
                Fault::Answer(refusal(429, "TOOMANYREQUESTS").header("Retry-After", 3600)),
            )],
        ),
        ("digest-mismatch", vec![Rule::always(Kind::UploadPut, Fault::Lie(Lie::StoreNothing))]),
    ] {
        let registry = Registry::start(Profile::distribution_3_1());
        registry.rules(rules);
        let sandbox = sandbox();
        blocked(publish(&sandbox, "1.0.0", &["--publish", "--to", &registry.reference("app")]), name);
        assert!(registry.history().is_empty(), "{name}: no tag was ever put");
    }
}

#[test]
fn nothing_is_built_where_nothing_may_be_uploaded() {
    for (status, code, name) in [(404, "NAME_UNKNOWN", "no-repository"), (403, "DENIED", "auth-denied")] {
        let registry = Registry::start(Profile::distribution_3_1());
        registry.rules([Rule::always(Kind::UploadStart, Fault::Answer(Response::error(status, code)))]);
        let sandbox = sandbox();
        let to = registry.reference("nobody/app");
        let outcome = publish(&sandbox, "1.0.0", &["--publish", "--to", &to]);
        assert!(outcome.stderr.contains(code) && !outcome.stderr.contains("making"), "{}", outcome.stderr);
        blocked(outcome, name);
        let kinds: BTreeSet<Kind> = registry.log().iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, BTreeSet::from([Kind::Ping, Kind::Tags, Kind::UploadStart]), "{name}");
        // A dry run opens no upload.
        let before = registry.log().len();
        publish(&sandbox, "1.0.0", &["--to", &to]).success();
        assert!(registry.log()[before..].iter().all(|entry| entry.kind != Kind::UploadStart), "{name}");
    }
}

#[test]
fn disk_full() {
    if !has("unshare") {
        return;
    }
    let sandbox = sandbox();
    let dist = sandbox.path("ws/dist");
    std::fs::create_dir(&dist).unwrap();
    let script = "mount -t tmpfs -o size=4k none ws/dist && exec \"$0\" \"$@\"";
    let mut command = sandbox.program("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, crate::common::sandbox::BINARY]);
    let Some(registry) = docker() else { return };
    command.args(["publish", "ws", "--to", &registry.reference("app")]).env("VERSION", "1.0.0");
    let outcome = Outcome::of(&mut command);
    let mounted = !(outcome.stderr.contains("unshare:") || outcome.stderr.contains("mount:"));
    if !need("file systems that an ordinary user mounts", From::Machine, mounted) {
        return;
    }
    assert_eq!(outcome.stderr.matches("No space left").count(), 1, "{}", outcome.stderr);
    blocked(outcome, "disk-full");
}
