//! The files that packages are made from say what the program says.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::common::sandbox::{BINARY, Outcome, Sandbox};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn everything_has_one_version() {
    let versions = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/versions");
    Outcome::of(Command::new(versions).arg(env!("CARGO_PKG_VERSION"))).success();
    let outcome = Outcome::of(Command::new(versions).arg("9.9.9")).refused_with(1);
    assert_eq!(outcome.stderr.matches("and not 9.9.9").count(), 2, "{}", outcome.stderr);
}

#[test]
fn completions_and_manual_pages_are_where_they_are_looked_for() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.program(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/complete"));
    Outcome::of(command.arg(BINARY).arg(sandbox.path("prefix"))).success();
    for (path, word) in [
        ("bash-completion/completions/pixi-oci", "complete "),
        ("zsh/site-functions/_pixi-oci", "#compdef pixi-oci"),
        ("fish/vendor_completions.d/pixi-oci.fish", "complete -c pixi-oci"),
        ("man/man1/pixi-oci.1", ".TH"),
        ("man/man1/pixi-oci-build.1", ".TH"),
    ] {
        let text = fs::read_to_string(sandbox.path("prefix/share").join(path)).expect(path);
        assert!(text.contains(word), "{path} has no {word:?}");
    }
}

/// `cargo binstall`, the action and the flake look for the same files.
#[test]
fn names_of_released_files() {
    let manifest = read("Cargo.toml");
    assert!(
        manifest.contains("pkg-url = \"{ repo }/releases/download/v{ version }/pixi-oci-{ target }\""),
        "{manifest}"
    );
    let workflow = read(".github/workflows/release.yml");
    let targets: BTreeSet<&str> =
        workflow.split("target: ").skip(1).filter_map(|rest| rest.split([',', ' ']).next()).collect();
    assert_eq!(targets.len(), 6, "{targets:?}");
    let (action, flake) = (read(".github/actions/pixi-oci/install"), read("nix/bin.nix"));
    let four = |target: &&&str| !target.ends_with("gnu");
    assert!(targets.iter().filter(four).all(|target| action.contains(*target)), "{targets:?}");
    assert!(
        targets.iter().filter(|target| target.ends_with("musl")).all(|target| flake.contains(*target)),
        "{targets:?}"
    );
}

/// No workflow runs what somebody else can change.
#[test]
fn actions_are_pinned_by_commit() {
    for path in [".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        let text = read(path);
        let uses: Vec<&str> =
            text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: ")).collect();
        assert!(!uses.is_empty());
        for action in uses.into_iter().filter(|action| !action.starts_with("./")) {
            let commit = action.split_once('@').expect(action).1.split(' ').next().unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}: {action}");
        }
        assert!(text.contains("permissions:"), "{path}");
    }
}

#[test]
fn scripts_can_be_run() {
    for script in ["complete", "golden", "image/publish", "notes", "program", "release", "versions"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(script);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o111, 0o111, "{script}");
    }
}
