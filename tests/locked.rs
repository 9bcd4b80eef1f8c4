//! `--locked` and `--frozen`: the lock file must be what the manifest says now (`docs/lock.md`).

use std::{fs, path::Path};

use crate::common::{
    packages::{file, package},
    sandbox::{Outcome, Sandbox, copy_tree},
    workspace::workspace,
};

/// The workspace whose lock file is true, with this line in the place of the one that begins like it.
fn changed(sandbox: &Sandbox, begins: &str, line: &str) {
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/locked"), &sandbox.path("ws"), |_| {});
    let path = sandbox.path("ws/pixi.toml");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().map(|old| if old.starts_with(begins) { line } else { old }).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

/// Without what [`Sandbox`] says for other tests.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    Outcome::of(sandbox.pixi_oci(arguments).env_remove("PIXI_FROZEN"))
}

#[test]
fn a_true_lock_file_is_used() {
    let sandbox = Sandbox::new();
    changed(&sandbox, "numpy = ", "numpy = { version = \"1.26.*\", build = \"py312*\" }");
    for environment in ["default", "gpu", "web"] {
        run(&sandbox, &["plan", "ws", "-e", environment]).success();
    }
    run(&sandbox, &["plan", "ws", "--all", "--locked"]).success();
}

#[test]
fn a_stale_one_is_an_error_that_says_how_and_what_to_do() {
    let sandbox = Sandbox::new();
    changed(&sandbox, "numpy = ", "numpy = \">=2\"");
    let words = ["numpy >=2 is required by feature default, the lock has 1.26.4", "pixi lock", "--frozen"];
    for command in [&["plan", "ws"][..], &["plan", "ws", "--all"], &["build", "ws", "-o", "oci:out"]] {
        run(&sandbox, command).refused(1, &words);
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn frozen_uses_it_as_it_is_and_both_together_are_wrong() {
    let sandbox = Sandbox::new();
    changed(&sandbox, "numpy = ", "numpy = \">=2\"");
    run(&sandbox, &["plan", "ws", "--frozen"]).success();
    run(&sandbox, &["plan", "ws", "--frozen", "--locked"]).refused(2, &["--frozen", "--locked"]);
    sandbox.run(&["plan", "ws"]).success();
    sandbox.run(&["plan", "ws", "--locked"]).refused(1, &["numpy >=2"]);
}

#[test]
fn twenty_differences_are_told_and_the_others_counted() {
    let sandbox = Sandbox::new();
    let many: Vec<_> = (0..30).map(|number| format!("p{number:02} = \"*\"")).collect();
    changed(&sandbox, "numpy = ", &many.join("\n"));
    let outcome = run(&sandbox, &["plan", "ws"]).refused(1, &["and 11 more"]);
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("  ")).count(), 21, "{}", outcome.stderr);
}

#[test]
fn mistakes_in_the_manifest_are_shown_where_they_are() {
    for (begins, line, words) in [
        (
            "numpy = ",
            "numpy = 3",
            &["`dependencies.numpy` must be a version or a table", "numpy = 3", "pixi.toml:16:9"][..],
        ),
        ("numpy = ", "numpy = { path = \"a\", git = \"b\" }", &["only one of `url`, `path` and `git`"]),
        ("numpy = ", "numpy = \"https://example.org/x\"", &["write `{ url = "]),
        ("channel-priority", "channel-priority = \"strikt\"", &["must be one of \"strict\"", "strikt"]),
        ("channel-priority", "exclude-newer = \"soon\"", &["`soon` is neither a date"]),
        (
            "platforms = ",
            "platforms = [\"linux-64\", \"linux-arch64\"]",
            &[
                "`linux-arch64` is not a conda platform",
                "did you mean `linux-aarch64`?",
                "pixi.toml:",
                "linux-64\", \"linux-arch64",
            ],
        ),
        (
            "[feature.gpu.system",
            "[feature.gpu]\nplatforms = [\"linux64\"]\n[feature.gpu.system-requirements]",
            &["`linux64` is not a conda platform", "did you mean `linux-64`?"],
        ),
        ("gpu = [", "gpu = [\"gpuu\"]", &["feature `gpuu` is not defined", "did you mean `gpu`?"]),
    ] {
        let sandbox = Sandbox::new();
        changed(&sandbox, begins, line);
        run(&sandbox, &["plan", "ws", "-e", "gpu"]).refused(1, words);
        run(&sandbox, &["plan", "ws", "-e", "gpu", "--frozen"]).success();
    }
}

#[test]
fn formats_of_other_times_are_named() {
    for (version, words) in [(8, "update pixi-oci"), (3, "run `pixi lock`")] {
        let sandbox = Sandbox::new();
        changed(&sandbox, "#", "");
        let path = sandbox.path("ws/pixi.lock");
        let lock = fs::read_to_string(&path).unwrap();
        fs::write(&path, lock.replacen("version: 7", &format!("version: {version}"), 1)).unwrap();
        run(&sandbox, &["plan", "ws"]).refused(1, &[words]);
    }
}

#[test]
fn one_stale_environment_makes_the_file_stale_for_all() {
    let sandbox = Sandbox::new();
    changed(&sandbox, "numpy = ", "numpy = \">=2\"");
    let manifest = fs::read_to_string(sandbox.path("ws/pixi.toml")).unwrap();
    let manifest = manifest.replacen("[environments]", "[environments]\nbare = { no-default-feature = true }", 1);
    fs::write(sandbox.path("ws/pixi.toml"), manifest).unwrap();
    let words = ["environment `bare` is in the manifest", "or for environment `default`:", "numpy >=2"];
    run(&sandbox, &["plan", "ws", "-e", "bare"]).refused(1, &words);
}

#[test]
fn an_environment_without_packages_is_an_image_of_the_application() {
    let sandbox = Sandbox::new();
    let demo = workspace([]).environment("prod", [package("hello", [file("bin/hello", "hi")])]);
    demo.platforms(&["linux-64"]).write(&sandbox.path("ws"));
    let plan = sandbox.run(&["plan", "ws"]).success();
    assert!(plan.stdout.contains("default linux-64: 0 packages"), "{}", plan.stdout);
    sandbox.build("ws", "oci:out");
    sandbox.run(&["verify", "image", "oci:out"]).success();
    let all = sandbox.run(&["plan", "ws", "--all"]).success();
    assert!(
        all.stdout.contains("prod linux-64: 1 package,") && !all.stdout.contains("default linux-64"),
        "{}",
        all.stdout
    );
    let matrix = sandbox.run(&["plan", "ws", "--matrix", "github"]).success();
    assert!(matrix.stdout.contains("ws-prod-amd64") && !matrix.stdout.contains("ws-default"), "{}", matrix.stdout);
}

#[test]
fn a_pointer_of_git_lfs_is_named_with_the_command_that_helps() {
    for file in ["pixi.toml", "pixi.lock"] {
        let sandbox = Sandbox::new();
        workspace([]).write(&sandbox.path("ws"));
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 42\n";
        fs::write(sandbox.path("ws").join(file), pointer).unwrap();
        sandbox.run(&["plan", "ws"]).refused(1, &[file, "Git LFS pointer", "git lfs pull"]);
    }
}
