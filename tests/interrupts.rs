//! Ctrl-C and SIGTERM: the command ends soon, with 130 or 143, and nothing of its own is left. `publish::interrupted` has
//! publishing, `lock` and `verify_run` have more of theirs, and tests/scenarios/sdists.sh has builds in a real container.

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use pixi_oci_test_registry::{Point, Profile, Registry};

use crate::{
    channels::{ARCHIVE, demo},
    common::{
        channel::{self, entry},
        channel_server::{ChannelServer, Fault},
        packages::*,
        sandbox::{Outcome, Sandbox, has},
        workspace::workspace,
    },
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `command`, sends the signal when `is_there` returns, and says that it ended as it should. The files in the sandbox
/// are then as they were before, but for what the cache keeps on purpose.
fn interrupted(sandbox: &Sandbox, command: &mut Command, signal: &str, is_there: impl FnOnce()) {
    let before = files(sandbox);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_there();
    let sent = sandbox.program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    let code = if signal == "INT" { 130 } else { 143 };
    assert_eq!(ended.status.code(), Some(code), "{command:?}: {stderr}");
    assert_eq!(ended.stdout, b"", "{command:?}");
    assert_eq!(stderr, "error: interrupted\n", "{command:?}");
    assert_eq!(files(sandbox), before, "{command:?}");
}

/// The files that a user sees, and temporary ones wherever they are; of the cache, what is being written.
fn files(sandbox: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    let cache = sandbox.path("../cache");
    let mut directories = vec![sandbox.path(""), sandbox.path("../tmp"), cache.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if !path.starts_with(&cache) || name.starts_with(".tmp") || name.starts_with("tmp-") {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// A workspace whose package never arrives whole.
fn stalling() -> (Sandbox, ChannelServer) {
    let sandbox = Sandbox::new();
    let server = ChannelServer::new(&sandbox.path("ws/channel"));
    demo().channel(&server.address).write(&sandbox.path("ws"));
    server.faults(ARCHIVE, [Fault::Stall(1000)]);
    (sandbox, server)
}

#[test]
fn a_download_that_stands_still_does_not_keep_anybody() {
    for (arguments, signal) in [
        (&["build", "ws", "-o", "oci:out:x"][..], "INT"),
        (&["build", "ws", "-o", "oci-archive:out.tar"], "TERM"),
        (&["product", "ws", "--workdir", "gap"], "INT"),
        (&["product", "ws", "--workdir", "gap"], "TERM"),
    ] {
        let (sandbox, server) = stalling();
        interrupted(&sandbox, &mut sandbox.pixi_oci(arguments), signal, || server.wait_for_stall());
        // The next one finds nothing that is in its way.
        sandbox.run(arguments).success();
    }
}

#[test]
fn a_channel_that_does_not_answer_does_not_keep_anybody() {
    for arguments in [&["lock"][..], &["lock", "--check"], &["build"]] {
        let sandbox = Sandbox::new();
        channel::write(&sandbox.path("main"), &[entry("linux-64/tool-1.0-h_0", &[])]);
        let server = ChannelServer::new(&sandbox.path("main"));
        let manifest = format!(
            "[workspace]\nname = \"demo\"\nplatforms = [\"linux-64\"]\nchannels = [\"{}\"]\n[dependencies]\ntool = \"*\"\n",
            server.address
        );
        fs::write(sandbox.path("pixi.toml"), manifest).unwrap();
        server.faults("repodata.json", [Fault::Stall(10)]);
        let mut command = sandbox.pixi_oci(arguments);
        command.arg("--quiet").env_remove("PIXI_FROZEN");
        interrupted(&sandbox, &mut command, "INT", || server.wait_for_stall());
    }
}

/// A registry with an image, and what stops at its request of that number.
fn stopping(sandbox: &Sandbox, number: usize) -> (Registry, String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let registry = Registry::start(Profile::distribution_3_1());
    let tool = package("tool", [file("bin/tool", "x").mode(0o755)]);
    workspace([tool]).write(&sandbox.path("base"));
    let mut publish = sandbox.pixi_oci(&["publish", "base", "--publish", "--to", &registry.reference("app")]);
    Outcome::of(publish.env("VERSION", "1.0.0")).success();
    registry.clear_log();
    let (here, arrived) = mpsc::channel();
    let (gate, closed) = mpsc::channel::<()>();
    registry.at(number, Point::Before, move |_| {
        here.send(()).unwrap();
        let _ = closed.recv();
    });
    let image = format!("{}:1.0.0", registry.reference("app"));
    (registry, image, arrived, gate)
}

#[test]
fn a_registry_that_does_not_answer_does_not_keep_anybody() {
    // The first request, and one for a blob.
    for number in [1, 5] {
        for command in ["build", "verify", "lock"] {
            let sandbox = Sandbox::new();
            let (_registry, image, arrived, _gate) = stopping(&sandbox, number);
            let base = format!("base = {image:?}\nprefix = \"/usr/more\"\nworkdir = \"/more\"");
            workspace([package("more", [])]).oci_only(&base).write(&sandbox.path("ws"));
            let arguments = match command {
                "build" => &["build", "ws", "-o", "oci:out:x"][..],
                "verify" => &["verify", "image", &image],
                // It asks once.
                _ if number > 1 => continue,
                _ => &["lock", "--base", "ws"],
            };
            let is_there = || arrived.recv_timeout(PATIENCE).unwrap();
            interrupted(&sandbox, &mut sandbox.pixi_oci(arguments), "INT", is_there);
        }
    }
}

#[test]
fn ctrl_c_on_a_terminal_takes_the_bar_away() {
    if !has("script") {
        return;
    }
    let (sandbox, _server) = stalling();
    let mut script = sandbox.program("script");
    let build = format!("stty cols 120; exec {} build ws -o oci:out:x", crate::common::sandbox::BINARY);
    script.args(["-qefc", &build, "/dev/null"]).env_remove("PIXI_NO_PROGRESS").env("TERM", "xterm");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains("fetching 1 packages") {
        let read = screen.read(&mut buffer).unwrap();
        assert!(read > 0, "the bar never came: {said:?}");
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    keys.write_all(b"\x03").unwrap();
    let mut rest = Vec::new();
    // A terminal whose program has ended is an error to read from.
    let _ = screen.read_to_end(&mut rest);
    said.push_str(&String::from_utf8_lossy(&rest));
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:?}");
    let (_, after) = said.rsplit_once("packages").unwrap();
    assert!(after.contains("\u{1b}[2K") || after.contains("\u{1b}[J"), "{said:?}");
    assert!(after.trim_end().ends_with("interrupted"), "{said:?}");
    assert!(!sandbox.path("out").exists());
}
