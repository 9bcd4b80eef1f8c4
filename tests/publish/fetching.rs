//! `build --cache-from` fetches several layers at once, ends when it is told to, and leaves nothing half-written.

use std::{
    collections::BTreeSet,
    fs,
    process::Stdio,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use pixi_oci_test_registry::{Kind, Point, Profile, Registry};

use super::{
    reuse::{Machine, forget, json, origins},
    *,
};

const TAG: &str = "1.0.0-dev.1";
/// As many as `crates/pipeline/src/stock/remote.rs` allows.
const PARALLEL: usize = 3;

/// A registry with the image of a machine that has forgotten everything.
fn published() -> (Registry, Machine) {
    let registry = Registry::start(Profile::plain());
    let machine = Machine::new("same");
    machine.run(&["publish", "ws", "--to", &registry.reference("app"), "--publish"], TAG).success();
    forget(&machine);
    registry.clear_log();
    (registry, machine)
}

fn build(machine: &Machine, registry: &Registry) -> std::process::Command {
    let from = format!("{}:{TAG}", registry.reference("app"));
    machine.sandbox.pixi_oci(&["build", "ws", "-o", "oci:out/here", "--json", "--cache-from", &from])
}

/// Every file below the place where the result would be, below the cache, and among temporary files.
fn files(machine: &Machine) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories =
        vec![machine.sandbox.path("out"), machine.sandbox.path("../cache"), machine.sandbox.path("../tmp")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

/// Stops the build when the layers' first requests of this kind have come, none of which is answered.
fn interrupt(kind: Kind, signal: &str, code: i32) {
    let context = format!("{signal} at {kind:?}");
    let (registry, machine) = published();
    Outcome::of(&mut build(&machine, &registry)).success();
    let log = registry.log();
    let first = log.iter().position(|entry| entry.kind == Kind::BlobHead).expect("layers are asked for") + 1;
    forget(&machine);
    fs::remove_dir_all(machine.sandbox.path("out")).unwrap();
    registry.clear_log();

    let (here, arrived) = mpsc::channel();
    let (gone, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    for number in first..=log.len() {
        let (here, wait) = (here.clone(), wait.clone());
        registry.at(number, Point::After, move |request| {
            if request.kind == kind {
                here.send(()).unwrap();
                // Ends when the process is gone.
                let _ = wait.lock().unwrap().recv();
            }
        });
    }
    let child = build(&machine, &registry).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for number in 1..=PARALLEL {
        let waited = arrived.recv_timeout(Duration::from_secs(60));
        waited.unwrap_or_else(|_| panic!("{context}: request {number} waits for the one before it"));
    }
    let sent = machine.sandbox.program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    drop(gone);
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{context}: {stderr}");
    assert!(ended.stdout.is_empty() && stderr.contains("interrupted"), "{context}: {stderr}");
    // What the image said of its packages was there before, and whole; a lock is held by nobody.
    let mut left = files(&machine);
    left.retain(|file| {
        let is_whole = file.contains("/facts/2-published/") && file.ends_with(".json");
        !is_whole && !file.ends_with("/lock")
    });
    assert!(left.is_empty(), "{context}: {left:#?}");
}

#[test]
fn layers_are_asked_for_three_at_a_time_and_an_interruption_leaves_nothing() {
    interrupt(Kind::BlobHead, "INT", 130);
    interrupt(Kind::BlobGet, "TERM", 143);
}

/// The bytes of a layer that a registry damages have no name, and the layers are made.
#[test]
fn a_layer_that_comes_damaged_is_made() {
    use pixi_oci_test_registry::{Fault, Lie, Rule};
    let (registry, machine) = published();
    let whole = json(&Outcome::of(&mut build(&machine, &registry)).success());
    assert_eq!(origins(&whole, "made"), 0);
    forget(&machine);
    fs::remove_dir_all(machine.sandbox.path("out")).unwrap();
    // After two configurations and two environment layers.
    let damaged = Rule { skip: 4, ..Rule::always(Kind::BlobGet, Fault::Lie(Lie::OtherBytes)) };
    registry.rules([damaged]);
    let outcome = Outcome::of(&mut build(&machine, &registry)).success();
    let made = json(&outcome);
    assert_eq!((&made["digest"], origins(&made, "registry")), (&whole["digest"], 0));
    assert_eq!(outcome.stderr.matches("no layers are taken from").count(), 1, "{}", outcome.stderr);
    machine.sandbox.run(&["verify", "image", "oci:out/here"]).success();
}
