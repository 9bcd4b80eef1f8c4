//! Channels that are broken or hostile, lines that are cut, and processes that are killed.

use std::{fs, path::Path, process::Stdio};

use crate::{
    channels::{ARCHIVE, build, demo},
    common::{
        channel_server::{ChannelServer, Fault},
        sandbox::{Outcome, Sandbox},
    },
};

fn served() -> (Sandbox, ChannelServer) {
    let sandbox = Sandbox::new();
    let server = ChannelServer::new(&sandbox.path("ws/channel"));
    demo().channel(&server.address).write(&sandbox.path("ws"));
    (sandbox, server)
}

fn files(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Everything in the cache but what is being written, and the lock of those who use it.
fn cached(sandbox: &Sandbox, cache: &str) -> Vec<String> {
    let archives = sandbox.path(cache).join("archives");
    files(&archives).into_iter().filter(|name| !["tmp", "lock"].contains(&name.as_str())).collect()
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let (sandbox, server) = served();
    server.faults(ARCHIVE, [Fault::Cut(1000)]);
    Outcome::of(&mut build(&sandbox)).success();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests[0].headers.contains_key("range"));
    assert_eq!(requests[1].headers["range"], "bytes=1000-");
    assert!(requests[1].headers["if-range"].starts_with('"'), "{requests:?}");
    assert!(requests.iter().all(|request| request.headers["accept-encoding"] == "identity"), "{requests:?}");
}

#[test]
fn what_may_pass_is_waited_for() {
    let (sandbox, server) = served();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
    server.faults(
        ARCHIVE,
        [
            Fault::Status(500, vec![]),
            Fault::Status(429, vec![("Retry-After", "0".into())]),
            // The server's clock is decades behind; what counts is the difference.
            Fault::Status(503, vec![("Retry-After", date.clone()), ("Date", date)]),
        ],
    );
    Outcome::of(&mut build(&sandbox)).success();
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn what_will_not_pass_is_said_at_once() {
    let right = |path: &str| format!("file://{path}");
    type Case<'a> = (Fault, &'a [&'a str]);
    let endless: &[&str] = &["bytes, the lock file says"];
    let cases: [Case<'_>; 8] = [
        (Fault::Status(404, vec![]), &["404", "does not have the package any more", "pixi update"]),
        (Fault::Status(403, vec![]), &["403", "pixi auth login"]),
        (Fault::Bytes(b"short".into()), &["has 5 bytes, the lock file says"]),
        (Fault::Bytes(vec![7; 1 << 20]), &["has 1048576 bytes, the lock file says"]),
        (Fault::Encoding("gzip"), &["content-encoding: gzip", "not asked for"]),
        (Fault::Endless, endless),
        (Fault::Status(302, vec![("Location", right("/etc/passwd"))]), &["redirect"]),
        (Fault::Status(302, vec![("Location", "ftp://h.example/x".into())]), &["redirect"]),
    ];
    for (fault, words) in cases {
        let (sandbox, server) = served();
        server.faults(ARCHIVE, [fault.clone()]);
        let mut command = build(&sandbox);
        command.args(["--cache-dir", sandbox.path("cache").to_str().unwrap()]);
        let outcome = Outcome::of(&mut command);
        let place = format!("{}/{ARCHIVE}", server.address);
        let words: Vec<&str> = words.iter().copied().chain(["package demo", &place]).collect();
        outcome.refused(1, &words);
        assert_eq!(server.requests().len(), 1, "{fault:?}");
        assert_eq!(cached(&sandbox, "cache"), Vec::<String>::new(), "{fault:?}");
        assert_eq!(files(&sandbox.path("cache/archives/tmp")), Vec::<String>::new(), "{fault:?}");
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn wrong_bytes_of_the_right_length_are_refused() {
    let (sandbox, server) = served();
    let mut bytes = fs::read(sandbox.path("ws/channel").join(ARCHIVE)).unwrap();
    bytes[100] ^= 1;
    server.faults(ARCHIVE, [Fault::Bytes(bytes)]);
    Outcome::of(&mut build(&sandbox)).refused(1, &["package demo", "sha256", "the file was replaced"]);
}

#[test]
fn a_circle_of_redirects_ends() {
    let (sandbox, server) = served();
    let round = Fault::Status(302, vec![("Location", format!("{}/{ARCHIVE}", server.address))]);
    server.faults(ARCHIVE, vec![round; 50]);
    Outcome::of(&mut build(&sandbox)).refused(1, &["package demo", "redirects too often"]);
    assert!(server.requests().len() <= 12, "{}", server.requests().len());
}

#[test]
fn killed_in_the_middle_of_a_download() {
    let (sandbox, server) = served();
    server.faults(ARCHIVE, [Fault::Stall(100_000)]);
    let cache = sandbox.path("cache").to_str().unwrap().to_owned();
    let mut command = build(&sandbox);
    command.args(["--cache-dir", &cache]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    server.wait_for_stall();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(cached(&sandbox, "cache"), Vec::<String>::new());
    assert!(!sandbox.path("out").exists());

    // What it left is swept away, and the next one is not disturbed by it.
    fs::write(sandbox.path("cache/archives/tmp/.tmpOLD"), "left behind").unwrap();
    Outcome::of(build(&sandbox).args(["--cache-dir", &cache])).success();
    assert_eq!(files(&sandbox.path("cache/archives/tmp")), Vec::<String>::new());
    Outcome::of(build(&sandbox).args(["--cache-dir", &cache, "--offline"])).success();
}

#[test]
fn several_processes_fill_one_cache() {
    let (sandbox, server) = served();
    let cache = sandbox.path("cache").to_str().unwrap().to_owned();
    let children: Vec<_> = (0..4)
        .map(|number| {
            let output = format!("oci:out{number}:x");
            let arguments = ["build", "ws", "--frozen", "-o", &output, "--cache-dir", &cache];
            sandbox.pixi_oci(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(files(&sandbox.path("cache/archives/tmp")), Vec::<String>::new());
    assert!(server.requests().len() <= 4);
}
