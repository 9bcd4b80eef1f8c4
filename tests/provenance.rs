//! What an image says of where it comes from, and that this depends on the commit alone.

use std::fs;

use crate::common::{
    image::read,
    packages::{file, package},
    sandbox::{Outcome, Sandbox},
    workspace::workspace,
};

const ABOUT: &str = "include = [\"src\"]\nsource = \"https://example.org/code\"";

fn prepared(oci: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    workspace([package("tool", [file("bin/tool", "x").mode(0o755)])]).oci(oci).write(&sandbox.path("ws"));
    fs::create_dir(sandbox.path("ws/src")).unwrap();
    fs::write(sandbox.path("ws/src/main.py"), "x").unwrap();
    sandbox
}

#[test]
fn annotations_of_ones_own() {
    let sandbox =
        prepared(&format!("{ABOUT}\nannotations = {{ \"org.example.team\" = \"a\", \"org.example.b\" = \"b\" }}"));
    let own = ["--annotation", "org.example.team=c"];
    sandbox.run(&[&["build", "ws", "-o", "oci:out:x"], &own[..]].concat()).success();
    let index = read(&sandbox.path("out"), "x");
    for image in &index.images {
        for annotations in
            [&index.document["annotations"], &image.manifest["annotations"], &image.config["config"]["Labels"]]
        {
            assert_eq!(annotations["org.example.team"], "c", "{annotations:#}");
            assert_eq!(annotations["org.example.b"], "b");
            assert_eq!(annotations["org.opencontainers.image.source"], "https://example.org/code");
        }
    }
    sandbox.run(&["verify", "image", "oci:out:x"]).success();
    sandbox.run(&["build", "ws", "-o", "oci:out:x", "--annotation", "x"]).refused(2, &["NAME=VALUE"]);
}

#[test]
fn one_commit_has_one_digest_wherever_it_is_built() {
    let sandbox = prepared(ABOUT);
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-C", "ws"];
        Outcome::of(sandbox.program("git").args(identity).args(arguments)).success().stdout.trim().to_owned()
    };
    git(&["init", "-q", "-b", "work"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "x"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let build = |variables: &[(&str, &str)]| {
        let mut command = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out:x"]);
        Outcome::of(command.envs(variables.iter().copied())).success().digest().to_owned()
    };
    let on_a_branch = build(&[]);
    let said = &read(&sandbox.path("out"), "x").document["annotations"];
    assert_eq!(said["org.opencontainers.image.version"], format!("sha-{}", &commit[..7]), "{said:#}");
    assert_eq!(said["org.opencontainers.image.revision"], commit);
    // Two images and an index, and the files are compared with the commit once.
    let trace = sandbox.path("trace");
    assert_eq!(build(&[("GIT_TRACE", trace.to_str().unwrap())]), on_a_branch);
    assert_eq!(fs::read_to_string(&trace).unwrap().matches("built-in: git status").count(), 1);
    let mut by_its_file = sandbox.pixi_oci(&["build", "pixi.toml", "-o", "oci:../by-file:x"]);
    let by_its_file = Outcome::of(by_its_file.current_dir(sandbox.path("ws"))).success().digest().to_owned();
    assert_eq!(by_its_file, on_a_branch, "named by its manifest");
    git(&["remote", "add", "origin", "https://example.org/somebody/elses.git"]);
    assert_eq!(build(&[]), on_a_branch, "with a remote");
    git(&["checkout", "-q", "--detach"]);
    assert_eq!(build(&[]), on_a_branch, "detached");
    let github = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/heads/work"),
        ("GITHUB_REF_NAME", "work"),
        ("GITHUB_SHA", &commit),
        ("GITHUB_REPOSITORY", "somebody/elses"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ];
    assert_eq!(build(&github), on_a_branch, "GitHub");
    let woodpecker = [
        ("CI", "woodpecker"),
        ("CI_PIPELINE_EVENT", "push"),
        ("CI_COMMIT_BRANCH", "work"),
        ("CI_COMMIT_SHA", &commit),
        ("CI_REPO_URL", "https://git.example.org/somebody/elses"),
    ];
    assert_eq!(build(&woodpecker), on_a_branch, "Woodpecker");
}
