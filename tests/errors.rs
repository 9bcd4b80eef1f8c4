//! What is wrong is said once, on stderr, with the thing, the reason and what to do; the exit code tells what kind it is.

use std::fs;

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox},
    workspace::{Workspace, edit_lock, workspace},
};

fn refused(ws: &Workspace, arguments: &[&str], code: i32, words: &[&str]) -> Outcome {
    let sandbox = Sandbox::new();
    ws.write(&sandbox.path("ws"));
    let outcome = sandbox.run(&[&["build", "ws", "-o", "oci:out:x"], arguments].concat()).refused(code, words);
    assert!(!sandbox.path("out").exists(), "a failed build leaves nothing");
    outcome
}

#[test]
fn a_workspace_that_is_not_there_or_not_locked() {
    let sandbox = Sandbox::new();
    sandbox.run(&["build", "nowhere"]).refused(1, &["nowhere"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.run(&["build", "empty"]).refused(1, &["empty", "pixi.toml"]);
    fs::write(sandbox.path("empty/app.py"), "import os\n").unwrap();
    sandbox.run(&["build", "empty/app.py"]).refused(1, &["empty/app.py", "no pixi.toml"]);
    sandbox.run(&["check-product", "empty"]).refused(1, &["empty is not a product", "pixi-oci product"]);
    sandbox.run(&["verify", "image", "oci:empty"]).refused(1, &["empty is not an OCI layout", "pixi-oci build"]);
    workspace([]).write(&sandbox.path("ws"));
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();
    sandbox.run(&["build", "ws", "--frozen"]).refused(1, &["pixi.lock", "pixi lock", "pixi-oci lock"]);
    sandbox.run(&["plan", "ws", "--frozen"]).refused(1, &["pixi.lock", "pixi lock"]);
    for (version, words) in [("3", ["too old", "pixi lock"]), ("99", ["newer", "update pixi-oci"])] {
        fs::write(sandbox.path("ws/pixi.lock"), format!("version: {version}\nenvironments: {{}}\npackages: []\n"))
            .unwrap();
        sandbox.run(&["build", "ws"]).refused(1, &words);
    }
    fs::write(sandbox.path("ws/pixi.lock"), "version: 6\nenvironments: [\n").unwrap();
    sandbox.run(&["build", "ws"]).refused(1, &["pixi.lock", "cut off", "pixi lock"]);
    assert!(!sandbox.path("ws/dist").exists());
}

#[test]
fn an_unknown_environment_with_those_there_are() {
    let ws = workspace([]).environment("prod", []).environment("test", []);
    refused(&ws, &["-e", "prdo"], 1, &["`prdo`", "did you mean `prod`? it has", "`default`", "`test`"]);
    refused(&ws.clone().oci("environment = \"prdo\""), &[], 1, &["`prdo`", "did you mean `prod`?"]);
    refused(&ws.oci("[tool.pixi-oci.environments.tset]"), &[], 1, &["`tset`", "did you mean `test`?"]);
}

#[test]
fn an_unknown_platform_with_those_there_are() {
    let words = ["`linux-aarch46`", "did you mean `linux-aarch64`? it is locked for", "`linux-64`"];
    refused(&workspace([]), &["--platform", "linux-aarch46"], 1, &words);
    // What targets have is no reason where nothing is locked for the platform at all.
    let assumed = ["--platform", "osx-arm64", "--virtual-package", "__glibc=2.36"];
    let outcome = refused(&workspace([]), &assumed, 1, &["platform `osx-arm64`; it is locked for"]);
    assert!(!outcome.stderr.contains("__glibc"), "{}", outcome.stderr);
}

#[test]
fn an_unknown_key_with_a_caret_and_a_suggestion() {
    let outcome = refused(
        &workspace([]).oci("workdri = \"/srv\""),
        &[],
        1,
        &["pixi.toml", "unknown key `workdri`", "did you mean `workdir`?", "workdri = \"/srv\""],
    );
    // Drawn under the key.
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let at = lines.iter().position(|line| line.contains("workdri = ")).unwrap();
    let key = lines[at].chars().position(|c| c == 'w').unwrap();
    let below: Vec<char> = lines[at + 1].chars().collect();
    assert!(below.len() > key && !below[key].is_whitespace(), "{}", outcome.stderr);
    refused(&workspace([]).oci("nonsense = 1"), &[], 1, &["unknown key `nonsense`", "known keys: "]);
    refused(&workspace([]).oci("ports = [\"80/icmp\"]"), &[], 1, &["port", "80/icmp"]);
    refused(&workspace([]).oci("workdir = \"srv\""), &[], 1, &["`srv`", "absolute"]);
    refused(&workspace([]).manifest("[broken"), &[], 1, &["pixi.toml"]);
}

#[test]
fn archives_that_are_not_what_is_locked() {
    let sandbox = Sandbox::new();
    let ws = workspace([package("victim", [file("bin/x", "x")])]).platforms(&["linux-64"]);
    let build = |words: &[&str]| {
        sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &[&["victim"], words].concat());
        assert!(!sandbox.path("out").exists());
    };
    let root = sandbox.path("ws");
    let archive = root.join("channel/linux-64/victim-1.0-h1234567_0.conda");

    ws.write(&root);
    let length = fs::metadata(&archive).unwrap().len();
    edit_lock(&root, &format!("size: {length}"), &format!("size: {}", length + 1));
    build(&["bytes", &(length + 1).to_string()]);

    ws.write(&root);
    let sha256 = crate::common::sandbox::sha256(&fs::read(&archive).unwrap());
    edit_lock(&root, &sha256, &"0".repeat(64));
    build(&["sha256", &sha256, &"0".repeat(64)]);

    ws.write(&root);
    // Archives have the time at which they were made: it is another one each time.
    let sha256 = crate::common::sandbox::sha256(&fs::read(&archive).unwrap());
    edit_lock(&root, &format!("  sha256: {sha256}\n"), "");
    build(&["md5", "pixi lock"]);

    ws.write(&root);
    fs::remove_file(&archive).unwrap();
    build(&[archive.to_str().unwrap()]);

    ws.write(&root);
    fs::write(&archive, &fs::read(&archive).unwrap()[..length as usize / 2]).unwrap();
    build(&["bytes"]);
}

/// The lock file's md5 is checked as well, where there is one.
#[test]
fn an_archive_with_another_md5_than_is_locked() {
    let sandbox = Sandbox::new();
    workspace([package("victim", [file("bin/x", "x")])]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    let lock = fs::read_to_string(sandbox.path("ws/pixi.lock")).unwrap();
    let md5 = lock.lines().find_map(|line| line.trim().strip_prefix("md5: ")).unwrap();
    edit_lock(&sandbox.path("ws"), md5, &"0".repeat(32));
    sandbox.run(&["build", "ws", "-o", "oci:out:x"]).refused(1, &["victim", "md5"]);
}

#[test]
fn offline_says_what_is_missing() {
    let ws = workspace([package("one", []), package("two", [])]).channel("https://user:secret@channel.example/c");
    let outcome = refused(&ws, &["--offline"], 1, &["one", "two", "channel.example", "--offline"]);
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
}

#[test]
fn wrong_usage() {
    let sandbox = Sandbox::new();
    workspace([]).write(&sandbox.path("ws"));
    for arguments in [
        &["build", "ws", "--nonsense"][..],
        &["nonsense"],
        &[],
        &["build", "ws", "--cmd", "[1"],
        &["build", "ws", "--cmd", "a && b"],
        &["build", "ws", "--base-glibc", "new"],
        &["build", "ws", "--virtual-package", "cuda"],
        &["build", "ws", "-v", "-q"],
    ] {
        assert_eq!(sandbox.run(arguments).code, Some(2), "{arguments:?}");
    }
    let mut epoch = sandbox.pixi_oci(&["build", "ws"]);
    Outcome::of(epoch.env("SOURCE_DATE_EPOCH", "yesterday")).refused(2, &["SOURCE_DATE_EPOCH", "yesterday"]);
    for command in [&["build"][..], &["plan"], &["verify", "image"]] {
        let help = sandbox.run(&[command, &["--help"]].concat()).success().stdout;
        assert!(help.contains("Examples:") && help.contains(&format!("pixi-oci {}", command.join(" "))), "{help}");
    }
}

#[test]
fn virtual_packages_that_are_too_old() {
    let ws = workspace([package("cuda-thing", []).depends(&["__cuda >=12.4"])]);
    refused(
        &ws,
        &["--virtual-package", "__cuda=11.8"],
        1,
        &["cuda-thing", "__cuda >=12.4", "11.8", "--virtual-package"],
    );
    let sandbox = Sandbox::new();
    ws.write(&sandbox.path("ws"));
    let mut command = sandbox.pixi_oci(&["build", "ws", "-o", "oci:out:x"]);
    Outcome::of(command.env("CONDA_OVERRIDE_CUDA", "11.8")).refused(1, &["cuda-thing", "__cuda >=12.4", "11.8"]);
}

/// A terminal gets colours and no control characters of others.
#[test]
fn names_cannot_move_the_cursor() {
    let evil = package("evil", [file("bin/a\u{1b}[2Jb\u{202e}", "x")]);
    let outcome = refused(&workspace([evil]), &["--color", "always"], 1, &["evil", "bin/a"]);
    assert!(!outcome.stderr.contains("\u{1b}[2J") && !outcome.stderr.contains('\u{202e}'), "{:?}", outcome.stderr);
    let sandbox = Sandbox::new();
    workspace([]).write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["build", "ws", "-e", "a\u{1b}[2J", "--color", "never"]).refused(1, &["a"]);
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    let manifest = "[tool.pixi-oci]\n\"a\\u001b[2J\" = 1\n";
    workspace([]).oci_only(manifest.trim_start_matches("[tool.pixi-oci]\n")).write(&sandbox.path("ws"));
    let outcome = sandbox.run(&["build", "ws", "--color", "never"]).refused(1, &["unknown key"]);
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
}
