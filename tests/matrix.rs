//! `pixi-oci plan --matrix`: the jobs of a CI, and which workspaces need any.

use std::fs;

use pixi_oci_test_registry::docker::{Docker, Mode};
use serde_json::{Value, json};

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox},
    workspace::workspace,
};

fn git(sandbox: &Sandbox, arguments: &[&str]) {
    let mut command = sandbox.program("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]);
    Outcome::of(command.args(arguments)).success();
}

/// A repository with two workspaces, of which one has two environments.
fn fleet() -> Sandbox {
    let sandbox = Sandbox::new();
    let tool = || package("tool", [file("bin/tool", "x").mode(0o755)]);
    workspace([tool()]).environment("gpu", [tool()]).write(&sandbox.path("services/api"));
    workspace([tool()]).platforms(&["linux-64"]).write(&sandbox.path("services/worker"));
    git(&sandbox, &["init", "--quiet"]);
    commit(&sandbox);
    sandbox
}

fn commit(sandbox: &Sandbox) {
    git(sandbox, &["add", "--all"]);
    git(sandbox, &["commit", "--quiet", "--message", "a change"]);
}

fn names(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let all = ["plan", "--matrix", "github", "--workspace-glob", "services/*"];
    let outcome = sandbox.run(&[&all[..], arguments].concat()).success();
    assert_eq!(outcome.stdout.lines().count(), 1, "$GITHUB_OUTPUT takes one line");
    let matrix: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let jobs = matrix["include"].as_array().unwrap();
    jobs.iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_image_is_a_job() {
    let sandbox = fleet();
    let outcome = sandbox.run(&["plan", "services/worker", "--matrix", "github"]).success();
    let job = json!({
        "name": "services-worker-default-amd64", "workspace": "services/worker", "environment": "default", "arch": "amd64"
    });
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap(), json!({ "include": [job] }));
    let (api, worker) = (["services-api-default-amd64", "services-api-default-arm64"], "services-worker-default-amd64");
    assert_eq!(names(&sandbox, &[]), [api[0], api[1], worker]);
    let all = names(&sandbox, &["--all"]);
    assert_eq!(all, [api[0], api[1], "services-api-gpu-amd64", "services-api-gpu-arm64", worker]);
    let yaml = sandbox.run(&["plan", "services/worker", "--matrix", "woodpecker"]).success();
    assert_eq!(
        yaml.stdout,
        "matrix:\n  include:\n    - WORKSPACE: \"services/worker\"\n      ENVIRONMENT: \"default\"\n      ARCH: \"amd64\"\n"
    );
    sandbox.run(&["plan", "services/api", "services/worker"]).refused(2, &["--matrix"]);
    sandbox.run(&["plan", "services/api", "--since", "HEAD"]).refused(2, &["--matrix"]);
    let outside = Sandbox::new();
    workspace([]).write(&outside.path("ws"));
    let outcome = outside.run(&["plan", "ws", "--matrix", "github", "--since", "HEAD"]);
    let outcome = outcome.refused(1, &["cannot compare ws with HEAD", "not a git repository"]);
    assert!(!outcome.stderr.contains("shallow"), "{}", outcome.stderr);
}

#[test]
fn only_what_changed_since_a_commit_needs_work() {
    let sandbox = fleet();
    let worker = ["services-worker-default-amd64"];
    assert!(names(&sandbox, &["--since", "HEAD"]).is_empty());
    // New, changed in the working tree, and in a commit.
    fs::write(sandbox.path("services/worker/new.py"), "1").unwrap();
    assert_eq!(names(&sandbox, &["--since", "HEAD"]), worker);
    commit(&sandbox);
    assert!(names(&sandbox, &["--since", "HEAD"]).is_empty());
    assert_eq!(names(&sandbox, &["--since", "HEAD~1"]), worker);
    // What others did after this branch began is not its change.
    git(&sandbox, &["branch", "topic", "HEAD~1"]);
    git(&sandbox, &["checkout", "--quiet", "topic"]);
    assert!(names(&sandbox, &["--since", "main"]).is_empty());
    git(&sandbox, &["checkout", "--quiet", "main"]);
    // A file of neither.
    fs::write(sandbox.path("readme"), "1").unwrap();
    assert!(names(&sandbox, &["--since", "HEAD"]).is_empty());
    // A workspace that names something outside of it.
    let manifest = sandbox.path("services/api/pixi.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("# ../../lib\n{text}")).unwrap();
    git(&sandbox, &["add", "services/api"]);
    git(&sandbox, &["commit", "--quiet", "--message", "uses lib"]);
    assert_eq!(names(&sandbox, &["--since", "HEAD"]).len(), 2, "readme is new");
    // Nothing that is written there by default counts, not even in a neighbour; what else is in `dist` does.
    fs::remove_file(sandbox.path("readme")).unwrap();
    for ours in ["dist/oci", "dist/airgap/product", "dist/.pixi-oci-build-killed/layout"] {
        for workspace in ["services/api", "services/worker"].map(|name| sandbox.path(&format!("{name}/{ours}"))) {
            fs::create_dir_all(&workspace).unwrap();
            fs::write(workspace.join("file"), "1").unwrap();
        }
    }
    assert!(names(&sandbox, &["--since", "HEAD"]).is_empty());
    fs::write(sandbox.path("services/worker/dist/tool.whl"), "1").unwrap();
    assert_eq!(names(&sandbox, &["--since", "HEAD"]).len(), 3);
    fs::remove_file(sandbox.path("services/worker/dist/tool.whl")).unwrap();
    // What forges send where there is nothing before.
    assert_eq!(names(&sandbox, &["--since", ""]).len(), 3);
    assert_eq!(names(&sandbox, &["--since", "0000000000000000000000000000000000000000"]).len(), 3);
}

#[test]
fn a_commit_that_is_not_there_is_an_error_and_no_empty_matrix() {
    let sandbox = fleet();
    let arguments = ["plan", "--matrix", "github", "--since"];
    for since in ["1111111111111111111111111111111111111111", "nowhere", "--output=x"] {
        let since = format!("--since={since}");
        let all = [&arguments[..3], &[since.as_str(), "services/api"]].concat();
        sandbox.run(&all).refused(1, &["services/api", "shallow clone"]);
    }
    assert!(!sandbox.path("x").exists() && !sandbox.path("services/api/x").exists());
}

fn publish(sandbox: &Sandbox, workspace: &str) {
    let arguments = ["publish", workspace, "--publish", "--tag", "stable"];
    Outcome::of(sandbox.pixi_oci(&arguments).env("VERSION", "1.0.0-dev.1")).success();
}

/// The jobs since what is published, on a machine that has nothing.
fn since(sandbox: &Sandbox, since: &str) -> Vec<String> {
    let _ = fs::remove_dir_all(sandbox.path("../cache"));
    let names = names(sandbox, &["--since", since]);
    let archives = sandbox.path("../cache/pixi-oci/archives");
    let fetched = fs::read_dir(archives)
        .into_iter()
        .flatten()
        .filter(|entry| !["tmp", "lock"].iter().any(|ours| entry.as_ref().unwrap().file_name() == *ours));
    assert_eq!(fetched.count(), 0, "packages were fetched");
    names
}

#[test]
fn only_what_a_build_would_make_anew_needs_work() {
    let Some(registry) = Docker::start(Mode::Plain) else { return };
    let sandbox = Sandbox::new();
    let tool = |content: &str| package("tool", [file("bin/tool", content).mode(0o755)]);
    let write = |name: &str, platforms: &[&'static str], content: &str| {
        let repository = format!("repositories = [{:?}]\ninclude = [\"app\"]", registry.reference(name));
        workspace([tool(content)])
            .platforms(platforms)
            .oci(&repository)
            .write(&sandbox.path(&format!("services/{name}")));
    };
    let both = ["linux-64", "linux-aarch64"];
    write("api", &both, "x");
    write("worker", &both[..1], "x");
    for name in ["api", "worker"] {
        fs::create_dir(sandbox.path(&format!("services/{name}/app"))).unwrap();
        fs::write(sandbox.path(&format!("services/{name}/app/main.py")), "1").unwrap();
    }
    git(&sandbox, &["init", "--quiet"]);
    commit(&sandbox);
    let (api, worker) = (["services-api-default-amd64", "services-api-default-arm64"], "services-worker-default-amd64");
    // Nothing is published yet.
    assert_eq!(since(&sandbox, ":stable"), [api[0], api[1], worker]);
    publish(&sandbox, "services/api");
    assert_eq!(since(&sandbox, ":stable"), [worker]);
    publish(&sandbox, "services/worker");
    let before = registry.requests().len();
    assert!(since(&sandbox, ":stable").is_empty());
    // No layer is fetched but those that say what is in the image.
    let requests = registry.requests()[before..].to_vec();
    assert!(requests.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{requests:#?}");
    // What an image names is believed to be there: however many layers it has, no more is asked.
    assert!(!requests.iter().any(|line| line.starts_with("HEAD ") && line.contains("/blobs/")), "{requests:#?}");
    // A commit of other files makes no other image, though images say of which commit they are.
    fs::write(sandbox.path("readme"), "1").unwrap();
    commit(&sandbox);
    assert!(since(&sandbox, ":stable").is_empty());
    // A file of the application, and a package.
    fs::write(sandbox.path("services/worker/app/main.py"), "2").unwrap();
    assert_eq!(since(&sandbox, ":stable"), [worker]);
    write("api", &both, "y");
    assert_eq!(since(&sandbox, ":stable"), [api[0], api[1], worker]);
    write("api", &both, "x");
    // One image, by its name and by its digest.
    let image = format!("{}:stable", registry.reference("api"));
    let names = |arguments: &[&str]| {
        let all = [&["plan", "services/api", "--matrix", "github"], arguments].concat();
        serde_json::from_str::<Value>(&sandbox.run(&all).success().stdout).unwrap()["include"].as_array().unwrap().len()
    };
    assert_eq!(names(&["--since", &image]), 0);
    let digest = sandbox.run(&["plan", "services/api", "--json", "--against", &image]).success().stdout;
    let digest = serde_json::from_str::<Value>(&digest).unwrap()[0]["against"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(names(&["--since", &format!("@{digest}")]), 0);
    assert_eq!(names(&["--since", &format!("@{digest}"), "--compression", "zstd"]), 2);
}

#[test]
fn what_cannot_be_compared_needs_work_and_says_why() {
    let sandbox = fleet();
    let arguments = ["plan", "services/worker", "--matrix", "github", "--since"];
    let outcome = sandbox.run(&[&arguments[..], &["docker://127.0.0.1:1/worker"]].concat()).success();
    assert!(outcome.stdout.contains("services-worker-default-amd64"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("counts as changed"), "{}", outcome.stderr);
    sandbox.run(&[&arguments[..], &[":latest"]].concat()).refused(1, &["configures no `repositories`"]);
    sandbox.run(&[&arguments[..], &["@sha256:12"]].concat()).refused(2, &["--since"]);
}
