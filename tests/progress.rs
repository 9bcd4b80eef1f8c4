//! What stderr shows while a command works: bars on a terminal, lines in logs, JSON on request.

use std::{
    collections::BTreeMap,
    io::Read,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use pixi_oci_test_registry::{Kind, Point, Profile, Registry};
use serde_json::Value;

use crate::common::{
    packages::*,
    sandbox::{Outcome, Sandbox, has},
    workspace::workspace,
};

const PATIENCE: Duration = Duration::from_secs(120);

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let tool = package("tool", [file("bin/tool", "1").mode(0o755)]);
    let other = package("other", [file("share/other", "x".repeat(100_000))]);
    workspace([tool, other]).write(&sandbox.path("ws"));
    sandbox
}

fn publish(sandbox: &Sandbox, registry: &Registry, arguments: &[&str]) -> Command {
    let to = registry.reference("app");
    let mut command = sandbox.pixi_oci(&[&["publish", "ws", "--publish", "--to", &to], arguments].concat());
    command.env("VERSION", "1.0.0").env_remove("PIXI_NO_PROGRESS");
    command
}

/// A registry that does not answer the first upload until the gate is dropped.
fn gated(sandbox: &Sandbox) -> (Registry, Sender<()>) {
    let registry = Registry::start(Profile::distribution_3_1());
    Outcome::of(&mut publish(sandbox, &registry, &["--progress", "none"])).success();
    let upload = registry.log().iter().position(|entry| entry.kind == Kind::UploadPut).unwrap() + 1;
    let registry = Registry::start(Profile::distribution_3_1());
    let (gate, closed) = mpsc::channel::<()>();
    registry.at(upload, Point::Before, move |_| {
        // Ends when nobody holds the gate.
        let _ = closed.recv();
    });
    (registry, gate)
}

/// What comes out of a stream, as it comes.
fn stream(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose program has ended is an error to read from.
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Reads until `word` was said, then opens the gate and reads on to the end.
fn read_through(from: &Receiver<Vec<u8>>, word: &str, gate: Sender<()>) -> String {
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(word) {
        let more = from.recv_timeout(PATIENCE);
        said.extend(more.unwrap_or_else(|_| panic!("{word:?} never came: {}", String::from_utf8_lossy(&said))));
    }
    drop(gate);
    said.extend(from.iter().flatten());
    String::from_utf8(said).unwrap()
}

/// `command` with a terminal for all its streams, which is what `script` prints.
fn on_terminal(sandbox: &Sandbox, command: &Command) -> Command {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let words: Vec<String> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = sandbox.program("script");
    script.args(["-qefc", &format!("stty cols 120; exec {}", words.join(" ")), "/dev/null"]);
    script.env_remove("PIXI_NO_PROGRESS").env("VERSION", "1.0.0").env("TERM", "xterm");
    script
}

#[test]
fn a_terminal_has_a_bar_while_bytes_are_sent_and_none_after_it() {
    if !has("script") {
        return;
    }
    let sandbox = sandbox();
    let (registry, gate) = gated(&sandbox);
    let mut script = on_terminal(&sandbox, &publish(&sandbox, &registry, &[]));
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = stream(child.stdout.take().unwrap());
    // Nothing moves, and the bar is there: with what, how much of how much, and how fast.
    let said = read_through(&output, "B/s", gate);
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains(&format!("sending {}", registry.reference("app").trim_start_matches("docker://"))), "{said}");
    let (_, after) = said.rsplit_once("B/s").unwrap();
    assert!(after.contains("\u{1b}[2K") || after.contains("\u{1b}[J"), "the bar is taken away: {said:?}");
    assert!(!said.contains("\u{1b}[?25l"), "the cursor is never hidden: {said:?}");
    assert!(after.contains("@sha256:"), "the result is there: {said:?}");
    let drawn = said.matches("sending").count();

    // The same without progress.
    let again = publish(&sandbox, &registry, &["--no-progress"]);
    let outcome = Outcome::of(&mut on_terminal(&sandbox, &again)).success();
    assert!(drawn > 0 && !outcome.stdout.contains("\u{1b}[2K"), "{outcome:?}");
}

/// Whoever is done at once sees no bar. A slow machine makes everything later, and so never fails this.
#[test]
fn nothing_is_drawn_in_the_first_quarter_of_a_second() {
    if !has("script") {
        return;
    }
    let sandbox = sandbox();
    let (registry, gate) = gated(&sandbox);
    let mut script = on_terminal(&sandbox, &publish(&sandbox, &registry, &[]));
    let started = Instant::now();
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = stream(child.stdout.take().unwrap());
    // Packages are fetched and layers made before, which takes no quarter of a second, and then the gate is closed.
    let mut said = output.recv_timeout(PATIENCE).unwrap();
    let first = started.elapsed();
    assert!(first >= Duration::from_millis(250), "after {first:?}: {:?}", String::from_utf8_lossy(&said));
    drop(gate);
    said.extend(output.iter().flatten());
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&said));
    assert!(String::from_utf8_lossy(&said).contains("@sha256:"));
}

#[test]
fn a_log_has_lines_and_nothing_that_moves_the_cursor() {
    let sandbox = sandbox();
    let (registry, gate) = gated(&sandbox);
    let repository = registry.reference("app").trim_start_matches("docker://").to_owned();
    let mut child = publish(&sandbox, &registry, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = read_through(&stream(child.stderr.take().unwrap()), &format!("sending {repository}"), gate);
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(!said.contains(['\r', '\u{1b}']), "{said:?}");
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with(&format!("sending {repository}"))).collect();
    assert_eq!(lines.len(), 2, "its begin and its end: {said}");
    assert!(lines[0].ends_with(" kB") || lines[0].ends_with(" B"), "{said}");
    assert!(lines[1].contains(" in ") && lines[1].ends_with("/s"), "{said}");
}

/// The events of a command that succeeded; every line of stderr is one.
fn events(command: &mut Command) -> (Vec<Value>, String) {
    let outcome = Outcome::of(command).success();
    (parse(&outcome.stderr), outcome.stdout)
}

fn parse(stderr: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let events: Vec<Value> = stderr.lines().map(parse).collect();
    assert!(events.iter().all(|event| event["ms"].is_u64() && event["event"].is_string()), "{events:#?}");
    assert_eq!(events[0]["event"], "started");
    assert_eq!(events[0]["version"], 1);
    assert_eq!(events.last().unwrap()["event"], "finished");
    events
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

fn sum(events: &[&Value], field: &str) -> u64 {
    events.iter().map(|event| event[field].as_u64().unwrap_or_else(|| panic!("{event}"))).sum()
}

#[test]
fn the_sums_of_json_events_are_the_sizes_of_what_was_made_and_sent() {
    let sandbox = sandbox();
    let registry = Registry::start(Profile::distribution_3_1());
    let (events, stdout) = events(&mut publish(&sandbox, &registry, &["--progress", "json", "--json"]));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(events[0]["command"], "publish");
    assert_eq!(events.last().unwrap()["exitCode"], 0);

    // Archives: all of them, here to the last byte.
    let started = of(&events, "fetch-started");
    assert_eq!(sum(&started, "archives"), 4);
    assert_eq!(of(&events, "fetch-finished").len(), 4);
    let last = of(&events, "fetch-progress").last().copied().unwrap().clone();
    assert_eq!(last["done"], last["total"]);
    assert_eq!(last["total"], sum(&started, "bytes"));

    // Layers: as the report has them.
    let made: BTreeMap<&str, u64> = of(&events, "layer-finished")
        .iter()
        .map(|layer| (layer["digest"].as_str().unwrap(), layer["size"].as_u64().unwrap()))
        .collect();
    let images = report["build"]["images"].as_array().unwrap();
    let layers: Vec<&Value> = images.iter().flat_map(|image| image["layers"].as_array().unwrap()).collect();
    let packages = layers.iter().filter(|layer| !layer["packages"].as_array().unwrap().is_empty());
    let expected: BTreeMap<&str, u64> =
        packages.map(|layer| (layer["digest"].as_str().unwrap(), layer["size"].as_u64().unwrap())).collect();
    assert_eq!(made, expected);
    assert_eq!(sum(&of(&events, "layers-started"), "layers"), of(&events, "layer-finished").len() as u64);

    // What was sent: every blob in the repository, each once, to the last byte.
    let publish = of(&events, "publish-started");
    let blobs = of(&events, "blob-finished");
    assert_eq!(publish.len(), 1);
    assert_eq!(publish[0]["blobs"], blobs.len());
    assert_eq!(publish[0]["bytes"], sum(&blobs, "size"));
    let in_registry = registry.content("app");
    let mut named: Vec<&str> = blobs.iter().map(|blob| blob["blob"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut there: Vec<&str> = in_registry.0.iter().chain(&in_registry.1).map(String::as_str).collect();
    there.retain(|digest| named.contains(digest));
    there.sort_unstable();
    assert_eq!(named, there);
    assert!(blobs.iter().all(|blob| blob["how"] == "uploaded"), "{blobs:#?}");
    let mut sent: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for event in of(&events, "upload-progress") {
        let numbers = (event["sent"].as_u64().unwrap(), event["size"].as_u64().unwrap());
        sent.insert(event["blob"].as_str().unwrap(), numbers);
    }
    assert!(sent.values().all(|(sent, size)| sent == size), "{sent:?}");
    let uploaded: u64 = layers
        .iter()
        .map(|layer| (layer["digest"].as_str().unwrap(), layer["size"].as_u64().unwrap()))
        .collect::<BTreeMap<_, _>>()
        .values()
        .sum();
    assert_eq!(sent.values().map(|(sent, _)| sent).sum::<u64>(), uploaded, "the layers' bytes, each once");
    let tags: Vec<&str> = of(&events, "tagged").iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert!(tags.contains(&"1.0.0") && tags.last() == Some(&"latest"), "{tags:?}");

    // And again: nothing is sent, and that is said.
    let mut again = publish_of(&sandbox, &registry);
    let (events, _) = self::events(&mut again);
    assert!(of(&events, "upload-progress").is_empty());
    assert!(of(&events, "blob-finished").iter().all(|blob| blob["how"] == "present"));
}

fn publish_of(sandbox: &Sandbox, registry: &Registry) -> Command {
    publish(sandbox, registry, &["--progress=json"])
}

#[test]
fn failures_are_events_too() {
    let sandbox = sandbox();
    let registry = Registry::start(Profile::distribution_3_1());
    Outcome::of(&mut publish_of(&sandbox, &registry)).success();
    workspace([package("tool", [file("bin/tool", "2")])]).write(&sandbox.path("ws"));
    let outcome = Outcome::of(&mut publish_of(&sandbox, &registry));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:#?}");
    let events = parse(&outcome.stderr);
    let errors = of(&events, "error");
    assert_eq!(errors[0]["blocker"], "tag-exists", "{errors:#?}");
    assert_eq!(events.last().unwrap()["exitCode"], 1);

    // A manifest that is drawn for people, a command that has no progress, and one who wants silence.
    std::fs::write(sandbox.path("ws/pixi.toml"), "[workspace\n").unwrap();
    for arguments in [&["build", "ws"][..], &["plan", "ws"], &["build", "ws", "--quiet"], &["build", "nothing"]] {
        let outcome = sandbox.run(&[arguments, &["--progress", "json"]].concat());
        let events = parse(&outcome.stderr);
        assert_eq!(of(&events, "error").len(), 1, "{arguments:?}: {events:#?}");
        assert!(!of(&events, "error")[0]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_product_tells_of_its_packages() {
    let sandbox = sandbox();
    let mut command = sandbox.pixi_oci(&["product", "ws", "--workdir", "gap", "--progress", "json"]);
    let (events, _) = events(&mut command);
    let started = of(&events, "packages-started");
    assert_eq!(sum(&started, "packages"), 4);
    assert_eq!(sum(&started, "bytes"), sum(&of(&events, "package-written"), "bytes"));
}

#[test]
fn a_base_image_that_is_fetched_is_told_of() {
    let sandbox = sandbox();
    let registry = Registry::start(Profile::distribution_3_1());
    Outcome::of(&mut publish(&sandbox, &registry, &[])).success();
    let base = format!("{}:1.0.0", registry.reference("app"));
    let configuration = format!("base = {base:?}\nprefix = \"/usr/more\"\nworkdir = \"/more\"\n");
    workspace([package("more", [])]).oci_only(&configuration).write(&sandbox.path("on"));
    let mut command = sandbox.pixi_oci(&["build", "on", "-o", "oci:out", "--progress", "json"]);
    let (first, _) = events(&mut command);
    assert_eq!(of(&first, "base-started").len(), 2);
    let received = of(&first, "download-progress");
    assert!(!received.is_empty());
    let last: BTreeMap<&str, &Value> = received.iter().map(|one| (one["blob"].as_str().unwrap(), *one)).collect();
    assert!(last.values().all(|one| one["received"] == one["size"]), "{last:#?}");
    // It is here now.
    let (second, _) = events(&mut command);
    assert!(of(&second, "download-progress").is_empty());
}
