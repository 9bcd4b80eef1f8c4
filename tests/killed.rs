//! `pixi-oci publish` is killed (SIGKILL) in the middle: no tag is ever incomplete, `latest` is the old or the new
//! release, and the next run finishes with the same digests. crates/registry/tests/push/killed.rs does this at every
//! request without the process.

use std::{process::Stdio, sync::mpsc, time::Duration};

use pixi_oci_test_registry::{
    Point, Profile, Registry, checker,
    docker::{PASSWORD, USER},
};

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox},
    workspace::workspace,
};

const REPOSITORY: &str = "team/app";

fn write(sandbox: &Sandbox, content: &str) {
    workspace([package("tool", [file("bin/tool", content).mode(0o755)])]).write(&sandbox.path("ws"));
}

fn command(sandbox: &Sandbox, registry: &Registry, version: &str) -> std::process::Command {
    let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "-v", "--to", &registry.reference(REPOSITORY)]);
    command.env("VERSION", version).env("REGISTRY_USER", USER).env("REGISTRY_TOKEN", PASSWORD);
    command
}

fn publish(sandbox: &Sandbox, registry: &Registry, version: &str) -> String {
    let outcome = Outcome::of(&mut command(sandbox, registry, version)).success();
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:#?}");
    outcome.digest().to_owned()
}

/// A registry with tokens and release 1.0.0; its digest.
fn released(sandbox: &Sandbox) -> (Registry, String) {
    let registry = Registry::start(Profile::gitea());
    write(sandbox, "1");
    let digest = publish(sandbox, &registry, "1.0.0");
    write(sandbox, "2");
    registry.clear_log();
    (registry, digest)
}

fn kill(sandbox: &Sandbox, number: usize, point: Point, new: &str) {
    let context = format!("request {number}, {point:?}");
    let (registry, old) = released(sandbox);
    let (here, arrived) = mpsc::channel();
    let (gone, wait) = mpsc::channel::<()>();
    registry.at(number, point, move |_| {
        here.send(()).unwrap();
        // Ends when the process is gone.
        let _ = wait.recv();
    });
    let mut child =
        command(sandbox, &registry, "1.1.0").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    arrived.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("{context}: never asked"));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(gone);
    let latest = registry.tag(REPOSITORY, "latest").unwrap();
    assert!([old.as_str(), new].contains(&latest.as_str()), "{context}: {latest}");
    assert_eq!(publish(sandbox, &registry, "1.1.0"), new, "{context}: the same bytes again");
    for value in registry.history() {
        assert_eq!(value.missing, Vec::<String>::new(), "{context}: {value:#?}");
    }
    for (tag, digest) in [("1.0.0", old.as_str()), ("1.1.0", new), ("latest", new)] {
        assert_eq!(registry.tag(REPOSITORY, tag).as_deref(), Some(digest), "{context}: {tag}");
    }
    assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{context}");
}

fn kill_at_every(step: usize) {
    let sandbox = Sandbox::new();
    let (registry, _) = released(&sandbox);
    let new = publish(&sandbox, &registry, "1.1.0");
    let requests = registry.log().len();
    assert!(requests > 30, "{requests}");
    for number in (1..=requests).step_by(step) {
        for point in [Point::Before, Point::After] {
            kill(&sandbox, number, point, &new);
        }
    }
}

#[test]
fn publishing_killed_here_and_there() {
    kill_at_every(9);
}

#[test]
#[ignore = "slow: every request, twice"]
fn publishing_killed_at_every_request() {
    kill_at_every(1);
}

#[test]
fn what_was_published_through_a_kill_reads_well() {
    // Open to the checker.
    let sandbox = Sandbox::new();
    let registry = Registry::start(Profile::plain());
    write(&sandbox, "1");
    let digest = publish(&sandbox, &registry, "1.0.0");
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags[&format!("{REPOSITORY}:1.0.0")], digest);
}
