//! SIGINT and SIGTERM while something is published: an orderly end, and no tag that was not there before.

use std::{fs, process::Stdio, sync::mpsc, time::Duration};

use pixi_oci_test_registry::{Kind, Point, Profile, Registry};

use super::*;

fn command(sandbox: &Sandbox, registry: &Registry, version: &str) -> std::process::Command {
    let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "--to", &registry.reference("app")]);
    command.env("VERSION", version).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Publishes 1.1.0 after 1.0.0, and sends the signal when the request of this number has arrived. No answer comes.
fn interrupt(number: usize, signal: &str, code: i32) {
    let context = format!("{signal} at request {number}");
    let sandbox = sandbox();
    let registry = Registry::start(Profile::distribution_3_1());
    let old = Outcome::of(&mut command(&sandbox, &registry, "1.0.0")).success().digest().to_owned();
    write(&sandbox, "2");
    registry.clear_log();
    let before = registry.history().len();
    let (here, arrived) = mpsc::channel();
    let (gone, wait) = mpsc::channel::<()>();
    registry.at(number, Point::Before, move |request| {
        here.send(request.kind).unwrap();
        // Ends when the process is gone.
        let _ = wait.recv();
    });
    let child = command(&sandbox, &registry, "1.1.0").spawn().unwrap();
    let kind = arrived.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("{context}: never asked"));
    let sent = sandbox.program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait_with_output().unwrap();
    drop(gone);
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{context}, {kind:?}: {stderr}");
    assert_eq!(ended.stdout, b"", "{context}");
    assert!(stderr.contains("interrupted") && !stderr.contains("panicked"), "{context}: {stderr}");
    // Whatever was tagged until then is whole; before the first manifest's tag, nothing is.
    let tagged = registry.history()[before..].to_vec();
    assert!(tagged.iter().all(|value| value.missing.is_empty()), "{context}: {tagged:#?}");
    if matches!(kind, Kind::UploadStart | Kind::UploadPut | Kind::BlobHead) {
        assert!(tagged.is_empty(), "{context}, {kind:?}: {tagged:#?}");
    }
    assert_eq!(registry.tag("app", "latest"), Some(old), "{context}");
    remains(&sandbox, &context);
    // The next run goes on.
    let new = Outcome::of(&mut command(&sandbox, &registry, "1.1.0")).success().digest().to_owned();
    assert_eq!(registry.tag("app", "latest"), Some(new), "{context}");
    assert_eq!(registry.broken_tags(), Vec::<String>::new(), "{context}");
}

/// No files for the time being are left: not among temporary files, in the workspace's output, or in the cache.
fn remains(sandbox: &Sandbox, context: &str) {
    let mut directories = vec![sandbox.path("../tmp"), sandbox.path("ws"), sandbox.path("../cache")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
                continue;
            }
            let name = entry.file_name().into_string().unwrap();
            let temporary = directory.ends_with("tmp") || name.starts_with(".tmp") || name.contains("partial");
            assert!(!temporary, "{context}: {}/{name} is left", directory.display());
        }
    }
}

#[test]
fn publishing_interrupted_by_a_signal() {
    let sandbox = sandbox();
    let registry = Registry::start(Profile::distribution_3_1());
    Outcome::of(&mut command(&sandbox, &registry, "1.0.0")).success();
    write(&sandbox, "2");
    registry.clear_log();
    Outcome::of(&mut command(&sandbox, &registry, "1.1.0")).success();
    let log = registry.log();
    // The first question; an upload; the first tag of an image; the version's tag.
    let nth = |kind: Kind, target: &str| {
        let found = log.iter().position(|entry| entry.kind == kind && entry.target.contains(target));
        found.unwrap_or_else(|| panic!("no {kind:?} {target}: {log:#?}")) + 1
    };
    interrupt(1, "INT", 130);
    interrupt(nth(Kind::UploadPut, ""), "INT", 130);
    interrupt(nth(Kind::UploadPut, ""), "TERM", 143);
    interrupt(nth(Kind::ManifestPut, "1.1.0-amd64"), "INT", 130);
    interrupt(nth(Kind::ManifestPut, "/1.1.0"), "TERM", 143);
}
