//! Dry runs without a login, and programs that print tokens: when they run, and what is said of them.

use pixi_oci_test_registry::{
    Profile, Registry,
    docker::{PASSWORD, USER},
    sample,
};
use serde_json::Value;

use super::*;

/// The workspace `ws`, published to a registry that answers nobody without a login.
fn private(token_command: Option<&str>) -> Option<(Sandbox, Docker)> {
    let registry = Docker::start(Mode::Htpasswd)?;
    let (sandbox, tool) = (Sandbox::new(), package("tool", [file("bin/tool", "x").mode(0o755)]));
    let oci = token_command.map(|command| format!("token-command = {command}")).unwrap_or_default();
    workspace([tool]).oci(&oci).write(&sandbox.path("ws"));
    Some((sandbox, registry))
}

fn run(sandbox: &Sandbox, registry: &Docker, more: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let to = registry.reference("app");
    let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--to", &to], more].concat());
    Outcome::of(command.env("VERSION", "1.0.0").env("REGISTRY_USER", USER).envs(variables.iter().copied()))
}

#[test]
fn a_dry_run_needs_no_login() {
    let Some((sandbox, registry)) = private(None) else { return };
    let outcome = run(&sandbox, &registry, &[], &[]).success();
    let words = format!("not checked at {}: no login (BLOCKER(empty-token) with --publish)", registry.address);
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("  1.0.0 sha256:") && outcome.stderr.contains("  latest sha256:"));
    let report: Value = serde_json::from_str(&run(&sandbox, &registry, &["--json"], &[]).success().stdout).unwrap();
    let there = &report["destinations"][0];
    assert_eq!((&there["status"], there["tags"].as_array().unwrap().len()), (&"notChecked".into(), 4), "{report:#}");
    assert!(there["bytes"].as_u64().unwrap() > 0);
    let planned = sandbox.run(&["plan", "ws", "--to", &registry.reference("app")]).success();
    assert!(planned.stdout.contains("no login (BLOCKER(empty-token) with --publish)"), "{}", planned.stdout);
    // It is what is published.
    let published = run(&sandbox, &registry, &["--publish"], &[("REGISTRY_TOKEN", PASSWORD)]).success();
    assert_eq!(digest(&published), digest(&outcome));
    let with_login = run(&sandbox, &registry, &[], &[("REGISTRY_TOKEN", PASSWORD)]).success();
    assert!(!with_login.stderr.contains("not checked"), "{}", with_login.stderr);
    // A wrong one is no missing one.
    run(&sandbox, &registry, &[], &[("REGISTRY_TOKEN", "wrong")]).refused(1, &["BLOCKER(auth-denied)"]);
    run(&sandbox, &registry, &["--publish"], &[]).refused(1, &["BLOCKER(empty-token)"]);
}

#[test]
fn the_program_of_a_manifest_runs_where_it_is_needed() {
    let command = format!(r#"["sh", "-c", "echo >> ran; echo {PASSWORD}"]"#);
    let Some((sandbox, registry)) = private(Some(&command)) else { return };
    let runs = |more: &[&str], variables: &[(&str, &str)]| {
        let _ = std::fs::remove_file(sandbox.path("ran"));
        let outcome = run(&sandbox, &registry, more, variables);
        (outcome.code, sandbox.path("ran").exists())
    };
    let change =
        [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/1/merge")];
    assert_eq!(runs(&[], &[]), (Some(0), false));
    assert_eq!(runs(&["--login"], &[]), (Some(0), true));
    assert_eq!(runs(&["--publish"], &[]), (Some(0), true));
    // Whoever proposes a change writes its manifest.
    for more in [&[][..], &["--login"]] {
        assert_eq!(runs(more, &change), (Some(0), false), "{more:?}");
    }
    assert_eq!(runs(&["--publish"], &change), (Some(1), false));
}

#[test]
fn a_program_that_gives_no_token() {
    for (command, words) in [
        (r#"["sh", "-c", "echo canary >&2; exit 3"]"#, r#"the token command "sh" gives no token for"#),
        (r#"["sh", "-c", "exit 3"]"#, "it ended with exit code 3"),
        (r#"["/nonexistent/program"]"#, "the program is not installed"),
        (r#"["true"]"#, "it prints no token"),
    ] {
        let Some((sandbox, registry)) = private(Some(command)) else { return };
        let outcome = run(&sandbox, &registry, &["--publish"], &[]).refused(1, &["BLOCKER(empty-token)", words]);
        assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
        run(&sandbox, &registry, &["--login"], &[]).refused(1, &["BLOCKER(empty-token)", words]);
    }
}

/// Everybody may read it: what it has is asked, and that publishing needs a login is said.
#[test]
fn a_registry_that_everybody_may_read() {
    let registry = Registry::start(Profile::ghcr_public());
    registry.put_image("app", &sample::image(1, 1), &["0.9.0"]);
    let sandbox = sandbox();
    let run = |more: &[&str], variables: &[(&str, &str)]| {
        let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--to", &registry.reference("app")], more].concat());
        Outcome::of(command.env("VERSION", "1.0.0").env("REGISTRY_USER", USER).envs(variables.iter().copied()))
    };
    let words = format!("no login for {} (BLOCKER(empty-token) with --publish); set REGISTRY_TOKEN", registry.address);
    let outcome = run(&[], &[]).success();
    assert!(outcome.stderr.contains(&words) && !outcome.stderr.contains("not checked"), "{}", outcome.stderr);
    let planned = sandbox.run(&["plan", "ws", "--to", &registry.reference("app")]).success();
    assert!(planned.stderr.contains(&words), "{}", planned.stderr);
    run(&["--publish"], &[]).refused(1, &["BLOCKER(empty-token)"]);
    let outcome = run(&[], &[("REGISTRY_TOKEN", PASSWORD)]).success();
    assert!(!outcome.stderr.contains("no login"), "{}", outcome.stderr);
    // One that is open to everybody needs none.
    let open = Registry::start(Profile::plain());
    let outcome = publish(&sandbox, "1.0.0", &["--to", &open.reference("app")]).success();
    assert!(!outcome.stderr.contains("no login"), "{}", outcome.stderr);
}

/// The token is for the first registry; how to log in at the second is said with its name.
#[test]
fn a_second_registry_without_a_login() {
    let first = Registry::start(Profile::plain());
    let second = Registry::start(Profile::ghcr_public());
    second.put_image("app", &sample::image(1, 1), &["0.9.0"]);
    let Some(private) = Docker::start(Mode::Htpasswd) else { return };
    let sandbox = sandbox();
    for (address, to) in [(&second.address, second.reference("app")), (&private.address, private.reference("app"))] {
        let name = address.replace(['.', ':'], "_");
        let words = format!(
            "REGISTRY_TOKEN and the token command are for {}; set REGISTRY_USER_{name} and REGISTRY_TOKEN_{name}",
            first.address
        );
        let run = |more: &[&str]| {
            let arguments = ["publish", "ws", "--to", &first.reference("app"), "--to", &to];
            let mut command = sandbox.pixi_oci(&[&arguments, more].concat());
            Outcome::of(command.env("VERSION", "1.0.0").env("REGISTRY_TOKEN", PASSWORD).env("REGISTRY_USER", USER))
        };
        let outcome = run(&[]).success();
        let blocker = format!("no login for {address} (BLOCKER(empty-token) with --publish); {words}");
        assert!(outcome.stderr.contains(&blocker), "{}", outcome.stderr);
        run(&["--publish"]).refused(1, &["BLOCKER(empty-token)", &words]);
    }
}
