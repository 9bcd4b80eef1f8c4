//! What is wrong is said once, on stderr, with the thing, the reason and what to do; the exit code tells what kind it is.

use std::fs;

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox},
    transcript::Transcript,
    workspace::{Workspace, edit_lock, workspace},
};

/// A build of the workspace that must be refused, in a sandbox of its own.
fn refused(transcript: &mut Transcript, ws: &Workspace, arguments: &[&str], code: i32) -> Outcome {
    let sandbox = Sandbox::new();
    ws.write(&sandbox.path("ws"));
    let outcome = transcript.run(&sandbox, &[&["build", "ws", "-o", "oci:out:x"], arguments].concat(), code);
    assert_eq!(outcome.stdout, "", "stdout is for results");
    assert!(!sandbox.path("out").exists(), "a failed build leaves nothing");
    outcome
}

#[test]
fn a_workspace_that_is_not_there_or_not_locked() {
    let (sandbox, mut said) = (Sandbox::new(), Transcript::default());
    said.run(&sandbox, &["build", "nowhere"], 1);
    fs::create_dir(sandbox.path("empty")).unwrap();
    said.run(&sandbox, &["build", "empty"], 1);
    fs::write(sandbox.path("empty/app.py"), "import os\n").unwrap();
    said.run(&sandbox, &["build", "empty/app.py"], 1);
    said.run(&sandbox, &["verify", "product", "empty"], 1);
    said.run(&sandbox, &["verify", "image", "oci:empty"], 1);
    workspace([]).write(&sandbox.path("ws"));
    fs::remove_file(sandbox.path("ws/pixi.lock")).unwrap();
    said.run(&sandbox, &["build", "ws", "--frozen"], 1);
    said.run(&sandbox, &["plan", "ws", "--frozen"], 1);
    for text in [
        "version: 0\nenvironments: {}\npackages: []\n",
        "version: 99\nenvironments: {}\npackages: []\n",
        "version: 6\nenvironments: [\n",
    ] {
        fs::write(sandbox.path("ws/pixi.lock"), text).unwrap();
        said.run(&sandbox, &["build", "ws"], 1);
    }
    assert!(!sandbox.path("ws/dist").exists());
    said.check("errors-workspace");
}

#[test]
fn unknown_environments_and_platforms_with_those_there_are() {
    let mut said = Transcript::default();
    let ws = workspace([]).environment("prod", []).environment("test", []);
    refused(&mut said, &ws, &["-e", "prdo"], 1);
    refused(&mut said, &ws.clone().oci("environment = \"prdo\""), &[], 1);
    refused(&mut said, &ws.oci("[tool.pixi-oci.environments.tset]"), &[], 1);
    refused(&mut said, &workspace([]), &["--platform", "linux-aarch46"], 1);
    // What targets have is no reason where nothing is locked for the platform at all.
    refused(&mut said, &workspace([]), &["--platform", "osx-arm64", "--virtual-package", "__glibc=2.36"], 1);
    said.check("errors-environments-and-platforms");
}

#[test]
fn what_is_wrong_in_the_manifest_has_a_caret_and_a_suggestion() {
    let mut said = Transcript::default();
    for wrong in [
        "workdri = \"/srv\"",
        "nonsense = 1",
        "ports = [\"80/icmp\"]",
        "ports = [0]",
        "ports = [true]",
        "workdir = \"srv\"",
        "workdir = 7",
        "directories = [\"/a\", \"/b/../c\"]",
        "user = -1",
        "user = { id = 1 }",
        "cmd = \"a && b\"",
        "cmd = \"a\"\ntask = \"a\"",
        "entrypoint = [\"a\", 1]",
        "env = { \"A=B\" = \"x\" }",
        "env = { A = 1 }",
        "labels = [\"a\"]",
        "include = [\"\"]",
        "include = [{ dest = \"x\" }]",
        "include = [{ src = \"x\", mode = 755 }]",
        "include = [{ src = \"x\", mod = \"0755\" }]",
        "compression = \"lzma\"",
        "compression = \"gzip:13\"",
        "max-layers = 0",
        "max-layers = \"many\"",
        "virtual-packages = [\"cuda\"]",
        "token-command = 1",
        "tags = \"latest\"",
        "repositories = [1]",
        "[tool.pixi-oci.environments.default]\nenvironment = \"default\"",
        "[tool.pixi-oci.environments.default]\nworkdri = \"/srv\"",
        "[tool.pixi-oci.environments]\ndefault = 1",
    ] {
        refused(&mut said, &workspace([]).oci(wrong), &[], 1);
    }
    refused(&mut said, &workspace([]).manifest("[broken"), &[], 1);
    said.check("errors-manifest");
}

#[test]
fn archives_that_are_not_what_is_locked() {
    let (sandbox, mut said) = (Sandbox::new(), Transcript::default());
    let ws = workspace([package("victim", [file("bin/x", "x")])]).platforms(&["linux-64"]);
    let mut build = |words: &[&str]| {
        let outcome = said.run(&sandbox, &["build", "ws", "-o", "oci:out:x"], 1).refused(1, words);
        assert!(!sandbox.path("out").exists());
        outcome
    };
    let root = sandbox.path("ws");
    let archive = root.join("channel/linux-64/victim-1.0-h1234567_0.conda");

    ws.write(&root);
    let length = fs::metadata(&archive).unwrap().len();
    edit_lock(&root, &format!("size: {length}"), &format!("size: {}", length + 1));
    build(&[&(length + 1).to_string()]);

    ws.write(&root);
    let sha256 = crate::common::sandbox::sha256(&fs::read(&archive).unwrap());
    edit_lock(&root, &sha256, &"0".repeat(64));
    build(&[&sha256, &"0".repeat(64)]);

    ws.write(&root);
    fs::remove_file(&archive).unwrap();
    build(&[]);

    ws.write(&root);
    fs::write(&archive, &fs::read(&archive).unwrap()[..length as usize / 2]).unwrap();
    build(&[]);
    said.check("errors-archives");
}

#[test]
fn offline_says_what_is_missing() {
    let mut said = Transcript::default();
    let ws = workspace([package("one", []), package("two", [])]).channel("https://user:secret@channel.example/c");
    let outcome = refused(&mut said, &ws, &["--offline"], 1);
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    said.check("errors-offline");
}

#[test]
fn wrong_usage() {
    let (sandbox, mut said) = (Sandbox::new(), Transcript::default());
    workspace([]).write(&sandbox.path("ws"));
    for arguments in [
        &["build", "ws", "--nonsense"][..],
        &["nonsense"],
        &["build", "ws", "--cmd", "[1"],
        &["build", "ws", "--cmd", "a && b"],
        &["build", "ws", "--virtual-package", "cuda"],
        &["build", "ws", "--arch", "riscv64"],
        &["build", "ws", "--set", "prefix=srv"],
        &["build", "ws", "--set", "prefx=/srv"],
        &["build", "ws", "--include=->"],
        &["build", "ws", "--env", "A"],
        &["build", "ws", "-v", "-q"],
        &["plan", "ws", "--against", "nowhere"],
        &["publish", "ws", "--leg-file", "leg.json"],
        &["verify", "image", "nowhere"],
        &["verify", "image", "ghcr.io/me/app:1"],
        &["push"],
        &["build", "-t", "me/app"],
        &["build", "ws", "--push"],
        &["build", "ws", "--dry-run"],
        &["build", "-f", "Dockerfile"],
        &["build", "ws", "--iidfile", "id"],
        &["build", "ws", "--max-layers", "60"],
        &["publish", "ghcr.io/me/app"],
    ] {
        said.run(&sandbox, arguments, 2);
    }
    said.run(&sandbox, &["build", "ws", "--output", "oci:"], 1);
    said.run_with(&sandbox, &["build", "ws"], &[("SOURCE_DATE_EPOCH", "yesterday")], 2);
    said.run_with(&sandbox, &["build", "ws"], &[("PIXI_LOCKED", "1"), ("PIXI_FROZEN", "1")], 2);
    said.run_with(&sandbox, &["publish", "ws"], &[("PUBLISH", "maybe")], 2);
    for to in [
        "ghcr.io",
        "localhost:5000",
        "me/tool",
        "ghcr.io/Me/Tool",
        "docker://ghcr.io/me/tool:1",
        "oras://ghcr.io/Me/Tool",
        "oras://me/tool",
        "oras://docker://ghcr.io/me/tool",
    ] {
        said.run(&sandbox, &["publish", "ws", "--to", to], 1);
    }
    said.check("errors-usage");
    assert_eq!(sandbox.run(&[]).code, Some(2));
    for command in [&["build"][..], &["plan"], &["verify", "image"]] {
        let help = sandbox.run(&[command, &["--help"]].concat()).success().stdout;
        assert!(help.contains("Examples:") && help.contains(&format!("pixi-oci {}", command.join(" "))), "{help}");
    }
}

#[test]
fn virtual_packages_that_are_too_old() {
    let mut said = Transcript::default();
    let ws = workspace([package("cuda-thing", []).depends(&["__cuda >=12.4"])]);
    refused(&mut said, &ws, &["--virtual-package", "__cuda=11.8"], 1);
    let sandbox = Sandbox::new();
    ws.write(&sandbox.path("ws"));
    said.run_with(&sandbox, &["build", "ws", "-o", "oci:out:x"], &[("CONDA_OVERRIDE_CUDA", "11.8")], 1);
    said.check("errors-virtual-packages");
}

/// A terminal gets colours and no control characters of others.
#[test]
fn names_cannot_move_the_cursor() {
    let evil = package("evil", [file("bin/.wh.a\u{1b}[2Jb\u{202e}", "x")]);
    let outcome = refused(&mut Transcript::default(), &workspace([evil]), &["--color", "always"], 1);
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
