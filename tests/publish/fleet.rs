//! Several workspaces on one command line.

use std::fs;

use pixi_oci_test_registry::checker;
use serde_json::Value;

use super::*;

/// Workspaces with a repository each: `services/api` and `services/worker`, and a directory that is none.
fn fleet(registry: &Docker) -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["api", "worker"] {
        let tool = package("tool", [file("bin/tool", "the same").mode(0o755)]);
        let own = package(name, [file("share/name", name)]);
        let repository = format!("repositories = [\"{}/{name}\"]", registry.address);
        workspace([tool, own]).oci(&repository).write(&sandbox.path("services").join(name));
    }
    fs::create_dir_all(sandbox.path("services/notes")).unwrap();
    sandbox
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.pixi_oci(&[&["publish"], arguments].concat());
    Outcome::of(command.env("VERSION", "1.0.0"))
}

#[test]
fn workspaces_are_published_to_their_own_repositories() {
    let Some(registry) = docker() else { return };
    let sandbox = fleet(&registry);
    run(&sandbox, &["services/api", "services/worker"]).success();
    assert_eq!(mutations(&registry.requests()), Vec::<&String>::new(), "a dry run writes nothing");
    let named = run(&sandbox, &["--publish", "services/api", "services/worker"]).success();
    let lines: Vec<&str> = named.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", named.stdout);
    let found = checker::check(&registry.address).sound();
    for (line, name) in lines.iter().zip(["api", "worker"]) {
        let (repository, digest) = line.split_once('@').unwrap();
        assert_eq!(repository, format!("{}/{name}", registry.address));
        assert_eq!(found.tags[&format!("{name}:1.0.0")], digest);
    }
    // A pattern means the same, and the result is a list even of one.
    let globbed = run(&sandbox, &["--publish", "--json", "--workspace-glob", "services/*"]).success();
    let list: Value = serde_json::from_str(&globbed.stdout).unwrap();
    let seen: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{}@{}", one["workspace"].as_str().unwrap(), one["report"]["digest"].as_str().unwrap()))
        .collect();
    let digests: Vec<&str> = lines.iter().map(|line| line.split_once('@').unwrap().1).collect();
    assert_eq!(seen, [format!("services/api@{}", digests[0]), format!("services/worker@{}", digests[1])]);
}

#[test]
fn workspaces_that_would_take_each_others_tags_are_refused_before_anything_is_sent() {
    let Some(registry) = docker() else { return };
    let sandbox = fleet(&registry);
    let to = registry.reference("all");
    let outcome = run(&sandbox, &["--publish", "services/api", "services/worker", "--to", &to]);
    outcome.refused(
        1,
        &["services/api/pixi.toml and ", "services/worker/pixi.toml would both put the tag {version}", "/all"],
    );
    assert_eq!(mutations(&registry.requests()), Vec::<&String>::new());
    let manifest = sandbox.path("services/worker/pixi.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text + "tags = [\"{version}-worker\"]\n").unwrap();
    run(&sandbox, &["--publish", "services/api", "services/worker", "--to", &to]).success();
    let tags = checker::check(&registry.address).sound().tags;
    assert!(tags.contains_key("all:1.0.0") && tags.contains_key("all:1.0.0-worker"), "{tags:?}");
}

#[test]
fn a_workspace_that_fails_does_not_keep_the_others_from_being_published() {
    let Some(registry) = docker() else { return };
    let sandbox = fleet(&registry);
    fs::write(sandbox.path("services/api/pixi.lock"), "no lock file").unwrap();
    let outcome = run(&sandbox, &["--publish", "--workspace-glob", "services/*"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with(&format!("{}/worker@sha256:", registry.address)), "{}", outcome.stdout);
    let tags: Vec<String> = checker::check(&registry.address).sound().tags.into_keys().collect();
    assert!(tags.iter().all(|tag| tag.starts_with("worker:")) && !tags.is_empty(), "{tags:?}");
    run(&sandbox, &["--workspace-glob", "nothing/*"]).refused(2, &["nothing/*", "no directory with a workspace"]);
    run(&sandbox, &["services/api", "services/worker", "--arch", "amd64", "--leg-file", "x"])
        .refused(2, &["one workspace"]);
}
