//! Versions and tags, as CI systems and git say them.

use pixi_oci_test_registry::checker;

use super::*;

/// The tags of the repository `app`.
fn tags(registry: &Docker) -> Vec<String> {
    let found = checker::check(&registry.address).sound();
    found.tags.into_keys().map(|tag| tag.strip_prefix("app:").unwrap().to_owned()).collect()
}

fn run(sandbox: &Sandbox, registry: &Docker, variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let to = registry.reference("app");
    let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--arch", "amd64", "--to", &to], arguments].concat());
    Outcome::of(command.envs(variables.iter().copied()))
}

#[test]
fn tags_of_ci_systems_are_releases_and_branches_are_not() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let sha = "abcdef0123456789abcdef0123456789abcdef01";
    let woodpecker =
        [("CI", "woodpecker"), ("CI_PIPELINE_EVENT", "tag"), ("CI_COMMIT_TAG", "v1.2.3"), ("CI_COMMIT_SHA", sha)];
    run(&sandbox, &registry, &woodpecker, &["--publish"]).success();
    assert_eq!(tags(&registry), ["1.2.3", "1.2.3-amd64", "latest", "sha-abcdef0"]);
    let Some(registry) = docker() else { return };
    let actions = [("GITHUB_ACTIONS", "true"), ("GITHUB_REF", "refs/heads/main"), ("GITHUB_SHA", sha)];
    run(&sandbox, &registry, &actions, &["--publish"]).success();
    assert_eq!(tags(&registry), ["sha-abcdef0", "sha-abcdef0-amd64"]);
}

#[test]
fn of_releases_that_are_published_at_once_the_newest_has_latest() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let publish = |number: usize| {
        let version = format!("1.0.{number}");
        run(&sandbox, &registry, &[("VERSION", &version)], &["--publish"]).success();
    };
    std::thread::scope(|scope| (1..=6).for_each(|number| drop(scope.spawn(move || publish(number)))));
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags.len(), 6 * 2 + 1);
    assert_eq!(found.tags["app:latest"], found.tags["app:1.0.6"]);
}

#[test]
fn a_pull_request_publishes_nothing() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let pull =
        [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request_target"), ("GITHUB_REF", "refs/heads/main")];
    run(&sandbox, &registry, &pull, &["--publish"]).refused(1, &["BLOCKER(pull-request)", "hint:"]);
    let with_variable = [&pull[..], &[("PUBLISH", "1"), ("VERSION", "1.0.0")]].concat();
    run(&sandbox, &registry, &with_variable, &[]).refused(1, &["BLOCKER(pull-request)"]);
    assert_eq!(registry.requests(), Vec::<String>::new());
}

#[test]
fn git_says_the_version_where_nobody_else_does() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let git = |arguments: &[&str]| {
        let mut command = sandbox.program("git");
        command.args(["-C", "ws", "-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        Outcome::of(&mut command).success()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "pixi.toml", "pixi.lock"]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v0.9.0"]);
    // `dist/` and the channel are not in git: only changed files make it dirty.
    run(&sandbox, &registry, &[], &["--publish"]).success();
    let found = tags(&registry);
    assert_eq!(found[..2], ["0.9.0", "0.9.0-amd64"]);
    assert!(found.contains(&"latest".to_owned()) && found.iter().any(|tag| tag.starts_with("sha-")), "{found:?}");
    git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    let next = run(&sandbox, &registry, &[], &[]).success();
    assert!(next.stderr.contains("0.9.0-1-g") && !next.stderr.contains(" latest "), "{}", next.stderr);
}

#[test]
fn changed_files_never_take_the_name_of_a_commit() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let git = |arguments: &[&str]| {
        let mut command = sandbox.program("git");
        command.args(["-C", "ws", "-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        Outcome::of(&mut command).success()
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::write(sandbox.path("ws/notes"), "one").unwrap();
    git(&["add", "pixi.toml", "pixi.lock", "notes"]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "v0.9.0"]);
    std::fs::write(sandbox.path("ws/notes"), "two").unwrap();
    let commit = git(&["rev-parse", "HEAD"]).stdout;
    // It says so, and what git would say of it.
    let dry = run(&sandbox, &registry, &[], &[]).success();
    assert!(dry.stderr.contains("BLOCKER(dirty)") && dry.stderr.contains("notes"), "{}", dry.stderr);
    assert!(dry.stderr.contains("0.9.0-dirty"), "{}", dry.stderr);
    // Neither as a commit nor as a release, here or in CI.
    run(&sandbox, &registry, &[], &["--publish"]).refused(1, &["BLOCKER(dirty)", "notes", "hint:"]);
    run(&sandbox, &registry, &[("VERSION", "1.0.0")], &["--publish", "--tag", "1.0.0"]).refused(1, &["BLOCKER(dirty)"]);
    let ci = [("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_SHA", commit.trim())];
    run(&sandbox, &registry, &ci, &["--publish"]).refused(1, &["BLOCKER(dirty)"]);
    assert_eq!(tags(&registry), Vec::<String>::new());
    // Under a name of its own, with a revision that says it.
    run(&sandbox, &registry, &[], &["--publish", "--tag", "trial"]).success();
    assert_eq!(tags(&registry), ["trial", "trial-amd64"]);
}

#[test]
fn an_older_release_leaves_latest_where_it_is() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let newest = run(&sandbox, &registry, &[("VERSION", "2.0.0")], &["--publish"]).success();
    write(&sandbox, "a correction");
    let older = run(&sandbox, &registry, &[("VERSION", "1.9.9")], &["--publish", "--progress", "json"]).success();
    // It is said before the work, not after it.
    let (before, _) = older.stderr.split_once("fetch-started").unwrap();
    assert!(before.contains("latest stays where it is: release 2.0.0"), "{}", older.stderr);
    let found = checker::check(&registry.address).sound();
    assert_eq!(found.tags["app:latest"], digest(&newest));
    assert_eq!(found.tags["app:1.9.9"], digest(&older));
}

#[test]
fn configured_tags_repositories_and_environments() {
    let Some(registry) = docker() else { return };
    let sandbox = Sandbox::new();
    let tool = || [package("tool", [file("bin/tool", "x").mode(0o755)])];
    let text = format!(
        "repositories = [\"{0}/app\"]\ntags = [\"{{version}}\", \"{{major}}.{{minor}}\", \"latest\", \"edge@main\"]\n\
         [tool.pixi-oci.environments.cuda]\nrepositories = [\"{0}/app-cuda\"]\n",
        registry.address
    );
    workspace(tool())
        .environment("cuda", tool())
        .environment("test", tool())
        .platforms(&["linux-64"])
        .oci(&text)
        .write(&sandbox.path("ws"));
    for environment in ["default", "cuda", "test"] {
        publish(&sandbox, "1.2.3", &["--publish", "-e", environment]).success();
    }
    let branch = ["publish", "ws", "--publish"];
    let mut command = sandbox.pixi_oci(&branch);
    let variables = [("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_BRANCH", "main")];
    Outcome::of(command.envs(variables)).success();
    let found: Vec<String> = checker::check(&registry.address).sound().tags.into_keys().collect();
    let plain = [
        "1.2",
        "1.2-test",
        "1.2.3",
        "1.2.3-amd64",
        "1.2.3-test",
        "1.2.3-test-amd64",
        "edge",
        "edge-amd64",
        "latest",
        "latest-test",
    ];
    let cuda = ["1.2", "1.2.3", "1.2.3-amd64", "latest"];
    let mut expected: Vec<String> = plain.map(|tag| format!("app:{tag}")).into();
    expected.extend(cuda.map(|tag| format!("app-cuda:{tag}")));
    expected.sort();
    assert_eq!(found, expected);
}

/// One version is one digest, wherever it is built; the index says which release it is, and an alias gives its name up once.
#[test]
fn a_release_takes_the_name_of_an_alias_and_keeps_it() {
    let Some(registry) = docker() else { return };
    let sandbox = sandbox();
    let publish = |version: &str| {
        let templates = "tags = [\"{version}\", \"{major}.{minor}\", \"latest\"]";
        write(&sandbox, version);
        let path = sandbox.path("ws/pixi.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{manifest}\n{templates}\n")).unwrap();
        run(&sandbox, &registry, &[("VERSION", version)], &["--publish"]).success()
    };
    let alias = digest(&publish("2026.2.0"));
    assert_eq!(checker::check(&registry.address).sound().tags["app:2026.2"], alias);
    let release = digest(&publish("2026.2"));
    assert_eq!(checker::check(&registry.address).sound().tags["app:2026.2"], release);
    let next = publish("2026.2.1");
    assert!(next.stderr.contains("2026.2 stays where it is: a release has this name"), "{}", next.stderr);
    let found = checker::check(&registry.address).sound();
    assert_eq!((&found.tags["app:2026.2"], &found.tags["app:latest"]), (&release, &digest(&next)));
}

#[test]
fn one_commit_is_one_digest_wherever_it_is_built() {
    let sandbox = sandbox();
    let git = |arguments: &[&str]| {
        let mut command = sandbox.program("git");
        command.args(["-C", "ws", "-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
        Outcome::of(&mut command).success().stdout.trim().to_owned()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "pixi.toml", "pixi.lock"]);
    git(&["commit", "-q", "-m", "one"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let build = |variables: &[(&str, &str)]| {
        let mut command = sandbox.pixi_oci(&["build", "ws", "--arch", "amd64", "-o", "oci:out:x"]);
        Outcome::of(command.envs(variables.iter().copied())).success().digest().to_owned()
    };
    let first = build(&[]);
    let github = [("GITHUB_ACTIONS", "true"), ("GITHUB_REF", "refs/heads/main"), ("GITHUB_SHA", commit.as_str())];
    let woodpecker = [("CI", "woodpecker"), ("CI_PIPELINE_EVENT", "push"), ("CI_COMMIT_BRANCH", "main")];
    assert_eq!((build(&github), build(&woodpecker)), (first.clone(), first.clone()));
    git(&["remote", "add", "origin", "https://example.org/me/app.git"]);
    git(&["checkout", "-q", "--detach"]);
    assert_eq!(build(&[]), first);
    let index = crate::common::image::read(&sandbox.path("out"), "x");
    let annotations = &index.document["annotations"];
    assert_eq!(annotations["org.opencontainers.image.version"], format!("sha-{}", &commit[..7]));
    assert_eq!(annotations["org.opencontainers.image.source"], serde_json::Value::Null);
    // A release says so; a branch's name is never a version.
    build(&[("VERSION", "v1.2.3")]);
    let index = crate::common::image::read(&sandbox.path("out"), "x");
    for name in ["org.opencontainers.image.version", "dev.pixi-oci.version"] {
        assert_eq!(index.document["annotations"][name], "1.2.3", "{name}");
    }
}
