//! `verify image -- CMD` and `verify product -- CMD` with a podman that is a script here: what is run and what is not, what is
//! said of it, and that nothing is left. tests/scenarios/verify.sh has the real podman.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::common::{
    sandbox::{Outcome, Sandbox, sha256},
    workspace::workspace,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LOCK: &str = "version: 6\n";

/// A layout of one image for each architecture, with a lock file and a manifest of a workspace.
fn layout(sandbox: &Sandbox, architectures: &[&str]) {
    let dir = sandbox.path("image");
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(dir.join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
    };
    let mut tar = tar::Builder::new(Vec::new());
    let manifest =
        "[workspace]\nname = \"app\"\nchannels = []\nplatforms = [\"linux-64\"]\n[tasks]\ncheck = \"tool --all\"\n";
    for (path, text) in [("app/pixi.lock", LOCK), ("app/pixi.toml", manifest)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let layer = put(LAYER, &tar);
    let images: Vec<Value> = architectures
        .iter()
        .map(|architecture| {
            let config = json!({
                "architecture": architecture, "os": "linux", "config": { "WorkingDir": "/app" },
                "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] }, "history": [{ "created_by": "test" }],
            });
            let config = put(CONFIG, config.to_string().as_bytes());
            let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
            let mut image = put(MANIFEST, manifest.to_string().as_bytes());
            image["platform"] = json!({ "os": "linux", "architecture": architecture });
            image
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "manifests": images });
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

/// A podman that notes how it is called; `run` is what it does instead of running a container.
fn podman(sandbox: &Sandbox, run: &str) {
    let info = json!({
        "host": { "kernel": "6.1", "security": { "rootless": true }, "idMappings": { "uidmap": [{ "size": 65537 }] } },
        "version": { "Version": "4.9" },
    });
    let log = sandbox.path("calls").display().to_string();
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{log}'\n\
         for word in \"$@\"; do case $word in info|run|pull|rm|unshare|container|image) what=$word; break ;; esac; done\n\
         case $what in\n\
         info) echo '{info}' ;;\n\
         pull) echo 0123456789ab ;;\n\
         unshare) while [ \"$1\" != unshare ]; do shift; done; shift; \"$@\" ;;\n\
         container) echo exited ;;\n\
         image) cat '{log}.user' 2>/dev/null || echo ;;\n\
         run) case \"$*\" in *--rootfs*) {probe} ;; *) {run} ;; esac ;;\n\
         esac\n",
        probe = if run == "broken" {
            "echo 'Error: OCI runtime error: crun: cgroups in hybrid mode' >&2; exit 126"
        } else {
            "exit 127"
        },
        run = if run == "broken" { "exit 126" } else { run },
    );
    fs::create_dir_all(sandbox.path("bin")).unwrap();
    program(&sandbox.path("bin/podman"), &text);
    for name in ["crun", "newuidmap", "newgidmap"] {
        program(&sandbox.path("bin").join(name), "#!/bin/sh\necho 'crun version 1'\n");
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.pixi_oci(arguments);
    command.env("PATH", format!("{}:/usr/bin:/bin", sandbox.path("bin").display()));
    command
}

fn verify(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    Outcome::of(&mut command(sandbox, &[&["verify", "image", "oci:image"], arguments].concat()))
}

fn calls(sandbox: &Sandbox) -> Vec<String> {
    let calls = fs::read_to_string(sandbox.path("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

/// The containers that ran.
fn containers(sandbox: &Sandbox) -> Vec<String> {
    calls(sandbox).into_iter().filter(|call| call.contains(" run ") && !call.contains("--rootfs")).collect()
}

fn tmp(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().parent().unwrap().join("tmp")
}

#[track_caller]
fn nothing_is_left(sandbox: &Sandbox) {
    let left: Vec<_> = fs::read_dir(tmp(sandbox)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn own() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" }
}

#[test]
fn a_command_runs_without_network_rights_and_a_writable_root() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "echo out; echo err >&2");
    let outcome = verify(&sandbox, &["--json", "--out", "proof", "--", "tool", "--flag"]).success();
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let [call] = &containers(&sandbox)[..] else { panic!("{:?}", calls(&sandbox)) };
    for words in [
        "--network none",
        "--read-only ",
        "--cap-drop all",
        "--security-opt no-new-privileges",
        "--user 12345:12345",
        "--pull never",
        "--storage-driver overlay",
        "--ulimit nofile=",
    ] {
        assert!(call.contains(words), "{words}: {call}");
    }
    assert!(call.ends_with(" 0123456789ab tool --flag"), "{call}");
    let run = &verdict["runs"][0];
    assert_eq!(
        (&verdict["verdict"], &run["outcome"], &run["exitCode"]),
        (&json!("passed"), &json!("passed"), &json!(0))
    );
    let said =
        run["podman"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ");
    assert!(said.ends_with(call.as_str()), "the exact command: {said}");
    assert_eq!(verdict["lockFile"], format!("sha256:{}", sha256(LOCK.as_bytes())));
    assert_eq!(verdict["tools"]["podman"], "4.9");
    assert_eq!(verdict["isolation"]["rootless"], true);
    assert!(run["seconds"].as_f64().is_some() && run["manifest"].as_str().unwrap().starts_with("sha256:"));
    let kept: Value = serde_json::from_slice(&fs::read(sandbox.path("proof/report.json")).unwrap()).unwrap();
    assert_eq!(kept, verdict);
    let log = |which: &str| fs::read_to_string(sandbox.path("proof").join(run[which].as_str().unwrap())).unwrap();
    assert_eq!((log("stdout").as_str(), log("stderr").as_str()), ("out\n", "err\n"));
    let mut words = call.split(' ');
    let runroot = words.by_ref().skip_while(|word| *word != "--runroot").nth(1).unwrap();
    assert!(runroot.len() <= 50, "podman refuses a longer one: {runroot}");
    assert!(!Path::new(runroot).exists());
    nothing_is_left(&sandbox);
}

#[test]
fn a_command_runs_as_the_user_of_the_image() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "exit 0");
    fs::write(sandbox.path("calls.user"), "app:app\n").unwrap();
    let outcome = verify(&sandbox, &["--json", "--", "id"]).success();
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(verdict["isolation"]["user"], "app:app");
    let [call] = &containers(&sandbox)[..] else { panic!("{:?}", calls(&sandbox)) };
    assert!(call.contains("--user app:app ") && !call.contains("12345:12345"), "{call}");
}

#[test]
fn without_a_command_nothing_is_run() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "exit 1");
    let outcome = verify(&sandbox, &[]).success();
    assert!(outcome.stdout.contains("every digest, size and diff id is right"), "{outcome:?}");
    assert_eq!(calls(&sandbox), Vec::<String>::new());
}

#[test]
fn a_task_of_the_image_and_a_script_of_this_machine() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "exit 0");
    verify(&sandbox, &["--task", "check"]).success();
    assert!(containers(&sandbox)[0].ends_with(" tool --all"), "{:?}", containers(&sandbox));
    verify(&sandbox, &["--task", "none"]).refused(1, &["none", "does not exist"]);

    fs::write(sandbox.path("script"), "#!/bin/sh\nexit 0\n").unwrap();
    verify(&sandbox, &["--script", "script", "--", "a", "b"]).success();
    let call = containers(&sandbox).pop().unwrap();
    assert!(
        call.contains("target=/run/pixi-oci-check,ro=true") && call.ends_with(" /run/pixi-oci-check a b"),
        "{call}"
    );
    fs::write(sandbox.path("script"), "no interpreter").unwrap();
    verify(&sandbox, &["--script", "script"]).refused(1, &["script", "#!/bin/sh"]);
    nothing_is_left(&sandbox);
}

#[test]
fn a_command_that_fails_is_a_verification_that_failed() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    for (run, words) in [
        ("echo 'it is broken' >&2; exit 5", &["exit status 5", "it is broken"][..]),
        ("exit 127", &["the command is not there"]),
        ("exit 125", &["exit status 125"]),
        ("exit 137", &["a signal ended the command: 9"]),
    ] {
        podman(&sandbox, run);
        let outcome = verify(&sandbox, &["--", "tool"]);
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        assert!(words.iter().all(|word| outcome.stderr.contains(word)), "{outcome:?}");
        assert!(outcome.stdout.contains("failed in"), "{outcome:?}");
    }
    nothing_is_left(&sandbox);
}

#[test]
fn what_is_damaged_is_not_run() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "exit 0");
    for blob in fs::read_dir(sandbox.path("image/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        let outcome = verify(&sandbox, &["--json", "--", "tool"]);
        assert_eq!(outcome.code, Some(3), "{outcome:?}");
        let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!((&verdict["verdict"], &verdict["runs"]), (&json!("failed"), &json!([])));
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(calls(&sandbox), Vec::<String>::new());
    nothing_is_left(&sandbox);
}

#[test]
fn what_cannot_run_here_has_not_passed() {
    let sandbox = Sandbox::new();
    if Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        return;
    }
    layout(&sandbox, &[own(), "s390x"]);
    podman(&sandbox, "exit 0");
    let outcome = verify(&sandbox, &["--json", "--", "tool"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let outcomes: Vec<&Value> = verdict["runs"].as_array().unwrap().iter().map(|run| &run["outcome"]).collect();
    assert_eq!(outcomes, ["passed", "not-run"]);
    assert_eq!(verdict["verdict"], "not-run");
    assert!(verdict["runs"][1]["reason"].as_str().unwrap().contains("qemu-user-static"));
    assert_eq!(containers(&sandbox).len(), 1);
    // Who asks for what can run has an answer.
    verify(&sandbox, &["--arch", own(), "--", "tool"]).success();
    verify(&sandbox, &["--arch", "riscv64", "--", "tool"]).refused(1, &["riscv64", "s390x"]);
}

#[test]
fn a_machine_that_lacks_something_is_told_what() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    let mut without = sandbox.pixi_oci(&["verify", "image", "oci:image", "--", "tool"]);
    without.env("PATH", sandbox.path("nowhere"));
    Outcome::of(&mut without).refused(1, &["requirement podman", "apt install podman", "dnf install podman"]);
    podman(&sandbox, "broken");
    // What the machine's own runtimes say with this podman is the same.
    verify(&sandbox, &["--", "tool"]).refused(1, &["requirement cgroups", "crun", "dnf install runc"]);
    nothing_is_left(&sandbox);
    verify(&sandbox, &["--as-user", "no-such-user", "--", "tool"]).refused(1, &["no-such-user"]);
}

#[test]
fn nothing_is_left_of_a_run_that_was_killed() {
    for signal in ["TERM", "INT", "KILL"] {
        let sandbox = Sandbox::new();
        layout(&sandbox, &[own()]);
        let pid = sandbox.path("pid");
        podman(&sandbox, &format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'; exec sleep 600", pid.display()));
        let mut child = command(&sandbox, &["verify", "image", "oci:image", "--", "tool"]).spawn().unwrap();
        wait_until("the container runs", || pid.exists());
        let container = fs::read_to_string(&pid).unwrap().trim().to_owned();
        let killed = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let status = child.wait().unwrap();
        let expected = match signal {
            "TERM" => Some(143),
            "INT" => Some(130),
            _ => None,
        };
        assert_eq!(status.code(), expected, "{signal}");
        wait_until("the storage is gone", || fs::read_dir(tmp(&sandbox)).unwrap().next().is_none());
        wait_until("the container is gone", || !Path::new("/proc").join(&container).join("exe").exists());
        assert!(calls(&sandbox).iter().any(|call| call.ends_with("rm --all --force --time 0")), "{signal}");
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not yet: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A product of both architectures, with a program for this machine that installs nothing.
fn product(sandbox: &Sandbox) {
    workspace([]).write(&sandbox.path("ws"));
    let mut command = sandbox.pixi_oci(&["product", "ws", "--workdir", "work"]);
    let platform = if own() == "amd64" { "linux-64" } else { "linux-aarch64" };
    command.args(["--installer", &format!("{platform}=/bin/true")]);
    Outcome::of(&mut command).success();
    fs::rename(sandbox.path("work/product"), sandbox.path("product")).unwrap();
}

#[test]
fn a_product_is_bootstrapped_from_a_read_only_mount() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    product(&sandbox);
    podman(&sandbox, "exit 0");
    let arguments =
        ["verify", "product", "product", "--base", "oci:image", "--arch", own(), "--json", "--", "tool", "-x"];
    let outcome = Outcome::of(&mut command(&sandbox, &arguments)).success();
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        verdict["lockFile"],
        format!("sha256:{}", sha256(&fs::read(sandbox.path("product/demo/pixi.lock")).unwrap()))
    );
    let [call] = &containers(&sandbox)[..] else { panic!("{:?}", calls(&sandbox)) };
    for words in
        ["--network none", "--read-only ", "target=/product,ro=true", "target=/work,rw=true", "--user 12345:12345"]
    {
        assert!(call.contains(words), "{words}: {call}");
    }
    assert!(call.ends_with("0123456789ab default demo pixi.toml  tool -x"), "{call}");
    nothing_is_left(&sandbox);
}

#[test]
fn a_product_that_was_changed_is_refused() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    product(&sandbox);
    podman(&sandbox, "exit 0");
    let run =
        || Outcome::of(&mut command(&sandbox, &["verify", "product", "product", "--base", "oci:image", "--", "tool"]));
    let manifest = sandbox.path("product/demo/pixi.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("demo", "Demo")).unwrap();
    let outcome = run();
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("demo/pixi.toml: it was changed"), "{outcome:?}");
    fs::write(&manifest, text).unwrap();
    fs::write(sandbox.path("product/more"), "").unwrap();
    let outcome = run();
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("more: it does not belong to the product"), "{outcome:?}");
    assert_eq!(calls(&sandbox), Vec::<String>::new());
    let outcome = Outcome::of(&mut command(&sandbox, &["verify", "product", "image"]));
    outcome.refused(1, &["image is not a product", "pixi-oci product"]);
}

/// The machine went down, or somebody killed the janitor as well: the next run removes what was left, and nothing else.
#[test]
fn what_is_left_of_dead_runs_is_swept() {
    let sandbox = Sandbox::new();
    layout(&sandbox, &[own()]);
    podman(&sandbox, "exit 0");
    let tmp = tmp(&sandbox);
    let make = |name: &str| {
        fs::create_dir_all(tmp.join(name).join("storage/overlay")).unwrap();
        fs::File::create(tmp.join(name).join("lock")).unwrap()
    };
    drop(make("pixi-oci-run-dead"));
    let live = make("pixi-oci-run-live");
    live.lock().unwrap();
    verify(&sandbox, &["--", "tool"]).success();
    let left: Vec<_> = fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["pixi-oci-run-live"]);
}
