//! Architectures that are published by jobs of their own and joined by a last one.

use std::fs;

use pixi_oci_test_registry::checker;
use serde_json::{Value, json};

use super::*;

fn leg(sandbox: &Sandbox, to: &str, arch: &str) -> Outcome {
    publish(sandbox, "1.0.0", &["--publish", "--to", to, "--arch", arch, "--leg-file", &format!("{arch}.json")])
}

fn join(sandbox: &Sandbox, to: &str, arguments: &[&str]) -> Outcome {
    let all = ["publish-index", "--workspace", "ws", "--publish", "--to", to];
    let mut command = sandbox.pixi_oci(&[&all[..], arguments].concat());
    Outcome::of(command.env("VERSION", "1.0.0"))
}

#[test]
fn legs_joined_are_what_one_job_publishes() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    for arch in ["amd64", "arm64"] {
        leg(&sandbox, &to, arch).success();
    }
    let tags: Vec<String> = checker::check(&registry.address).sound().tags.into_keys().collect();
    assert_eq!(tags, ["app:1.0.0-amd64", "app:1.0.0-arm64"], "no index, no version yet");
    // Somewhere else, where there is neither a workspace nor a version.
    let legs = sandbox.path("elsewhere");
    fs::create_dir(&legs).unwrap();
    for arch in ["amd64", "arm64"] {
        fs::copy(sandbox.path(&format!("{arch}.json")), legs.join(format!("{arch}.json"))).unwrap();
    }
    let mut alone = sandbox.pixi_oci(&["publish-index", "--publish", "arm64.json", "amd64.json"]);
    let joined = Outcome::of(alone.current_dir(&legs)).success();
    let whole = publish(&sandbox, "1.0.0", &["--publish", "--to", &registry.reference("whole")]).success();
    assert_eq!(digest(&joined), digest(&whole));
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags["app:latest"], digest(&whole));
    assert_eq!(found.tags["app:1.0.0"], digest(&whole));
}

#[test]
fn an_index_that_would_be_incomplete_or_wrong_is_never_written() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    for arch in ["amd64", "arm64"] {
        leg(&sandbox, &to, arch).success();
    }
    // The tag of the missing one is there: it may be from an older run.
    for legs in [&["amd64.json"][..], &["arm64.json"], &["amd64.json", "amd64.json"]] {
        join(&sandbox, &to, legs).refused(1, &["BLOCKER(arch-missing)", "the workspace of the legs requires"]);
    }
    let edited = |name: &str, edit: &dyn Fn(&mut Value)| {
        let mut leg: Value = serde_json::from_str(&fs::read_to_string(sandbox.path("arm64.json")).unwrap()).unwrap();
        edit(&mut leg);
        fs::write(sandbox.path(name), leg.to_string()).unwrap();
    };
    let amd: Value = serde_json::from_str(&fs::read_to_string(sandbox.path("amd64.json")).unwrap()).unwrap();
    edited("version.json", &|leg| leg["publication"]["version"] = json!("1.0.1"));
    edited("commit.json", &|leg| leg["publication"]["indexAnnotations"]["a"] = json!("b"));
    edited("repository.json", &|leg| leg["publication"]["repositories"] = json!(["r.example.org/b"]));
    edited("absent.json", &|leg| leg["digest"] = json!(format!("sha256:{}", "0".repeat(64))));
    edited("size.json", &|leg| leg["size"] = json!(1));
    edited("other.json", &|leg| {
        leg["digest"] = amd["digest"].clone();
        leg["size"] = amd["size"].clone();
    });
    for (file, words) in [
        ("version.json", &["BLOCKER(leg-mismatch)", "1.0.1"][..]),
        ("commit.json", &["BLOCKER(leg-mismatch)", "its annotation a: b; in amd64.json: not set"]),
        ("repository.json", &["BLOCKER(leg-mismatch)", "its repositories: r.example.org/b; in amd64.json: 127.0.0.1"]),
        ("absent.json", &[&registry.address]),
        ("none.json", &["BLOCKER(arch-missing)", "cannot read none.json"]),
        ("size.json", &["BLOCKER(digest-mismatch)", "1 bytes"]),
        ("other.json", &["BLOCKER(digest-mismatch)", "linux/amd64"]),
    ] {
        join(&sandbox, &to, &["amd64.json", file]).refused(1, words);
    }
    // From another repository: the images are not there.
    join(&sandbox, &registry.reference("elsewhere"), &["amd64.json", "arm64.json"]).refused(1, &["elsewhere"]);
    let tags: Vec<String> = checker::check(&registry.address).sound().tags.into_keys().collect();
    assert_eq!(tags, ["app:1.0.0-amd64", "app:1.0.0-arm64"]);
    // Another version than that of the legs is to be published now.
    let mut other = sandbox.pixi_oci(&["publish-index", "--publish", "amd64.json", "arm64.json"]);
    Outcome::of(other.env("VERSION", "1.0.1")).refused(1, &["BLOCKER(leg-mismatch)", "it is 1.0.0"]);
    // One is enough if somebody says so.
    join(&sandbox, &to, &["--arch", "amd64", "amd64.json"]).success();
}

#[test]
fn a_leg_is_of_one_architecture_and_is_written_when_it_is_there() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let to = registry.reference("app");
    publish(&sandbox, "1.0.0", &["--to", &to, "--leg-file", "x.json"]).refused(2, &["--arch"]);
    publish(&sandbox, "1.0.0", &["--to", &to, "--arch", "amd64", "--leg-file", "x.json"]).success();
    assert!(!sandbox.path("x.json").exists(), "nothing was published");
}
