//! Small packages that would take much: each is refused, or built, in bounded memory and time.
//!
//! Slow, and measured by what all children of this process took: `cargo test --release --test main -- --ignored bombs`.

use std::time::Instant;

use serde_json::json;

use crate::common::{
    odd,
    packages::{Package, bzip2_bytes, entry, file, package, tar},
    pypi::locked,
    sandbox::Sandbox,
    wheels,
    workspace::{Workspace, workspace},
};

const MOST_BYTES: u64 = 500 << 20;
/// An unoptimised build takes ten times as long.
const MOST_SECONDS: u64 = if cfg!(debug_assertions) { 300 } else { 30 };

/// The most memory that any child so far has had.
fn peak() -> u64 {
    // SAFETY: the structure is plain numbers, and the call only writes to it.
    #[allow(unsafe_code)]
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    usage.ru_maxrss.unsigned_abs() * 1024
}

fn bomb(package: Package) -> Workspace {
    workspace([odd::python(), package]).platforms(&["linux-64"])
}

fn text(path: &str, body: String, mode: &str, placeholder: &str) -> Package {
    package("bomb", [file(path, body).list("file_mode", mode).list("prefix_placeholder", placeholder)])
}

/// A package with entries or listed paths in such numbers.
fn many(entries: usize, listed: usize) -> Workspace {
    let paths: Vec<_> =
        (0..listed).map(|number| json!({"_path": format!("d/{number}"), "path_type": "hardlink"})).collect();
    let package = package("bomb", []).paths_json(json!({"paths": paths, "paths_version": 1}).to_string()).tar_bz2();
    let mut contents = Vec::new();
    for number in 0..entries {
        entry(&mut contents, tar::EntryType::Regular, &format!("d/{number}"), "", 0o644, 0, b"");
    }
    // Info comes first, and the end of that tar last.
    let mut archive = tar(&package.info_items());
    let end = archive.split_off(archive.len() - 1024);
    archive.extend([contents, end].concat());
    bomb(package.clone()).archive("bomb", bzip2_bytes(&archive))
}

fn wheel(members: impl IntoIterator<Item = wheels::Member>, rows: usize) -> Workspace {
    let wheel = wheels::wheel("bomb", members);
    let lines: String = (0..rows).map(|number| format!("bomb/{number}.py,,\n")).collect();
    let record = wheel.record_lines() + &lines;
    workspace([odd::python()]).pypi([locked(&wheel.record(record))]).platforms(&["linux-64"])
}

#[test]
#[ignore = "slow; measures memory and time"]
fn bombs_take_little() {
    let deflated = |name: &str, size: usize| wheels::file(name, vec![0; size]);
    let bombs: Vec<(&str, Workspace, Option<&str>)> = vec![
        ("placeholder by chance", bomb(text("x", "/p".repeat(50 << 20), "text", "/p")), Some("shorter than 8 bytes")),
        (
            "text placeholders",
            bomb(text("x", "/8/bytes".repeat(8 << 20), "text", "/8/bytes")),
            Some("places in a file"),
        ),
        (
            "binary placeholders",
            bomb(text("x", "/14/characters\0".repeat(4 << 20), "binary", "/14/characters")),
            Some("places in a file"),
        ),
        ("fewer placeholders", bomb(text("x", "/14/characters\0".repeat(499_999), "binary", "/14/characters")), None),
        ("a large file to patch", bomb(text("x", "0".repeat(200 << 20), "text", "/8/bytes")), Some("bytes")),
        ("a million entries", many(1_000_000, 0), Some("paths")),
        ("a million listed paths", many(0, 1_000_000), Some("bytes in a file of info/")),
        ("200,000 listed paths", many(0, 200_000), Some("paths")),
        ("100,000 files", many(99_000, 99_000), None),
        ("zeros", bomb(package("bomb", [file("x", vec![0; 400 << 20])])), Some("unpacked bytes")),
        (
            "variables",
            bomb(package("bomb", [file("etc/conda/env_vars.d/x.json", vec![b' '; 60 << 20])])),
            Some("env_vars.d"),
        ),
        (
            "a wheel of zeros",
            wheel((0..4).map(|number| deflated(&format!("bomb/{number}"), 100 << 20)), 0),
            Some("bomb"),
        ),
        (
            "a wheel of many members",
            wheel((0..40_000).map(|number| wheels::file(&format!("bomb/{number}"), "")), 0),
            None,
        ),
        (
            "many scripts",
            wheel(
                [wheels::entry_points(
                    "bomb",
                    &(0..4_000_000).fold("[console_scripts]\n".to_owned(), |text, n| text + &format!("{n}=m:f\n")),
                )],
                0,
            ),
            Some("entry_points.txt"),
        ),
        ("a RECORD of many rows", wheel([wheels::file("bomb/x", "")], 1_000_000), None),
    ];
    for (name, ws, refusal) in bombs {
        let sandbox = Sandbox::new();
        ws.write(&sandbox.path("ws"));
        let start = Instant::now();
        let outcome = sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "oci:out:v1"]);
        let (seconds, bytes) = (start.elapsed().as_secs(), peak());
        eprintln!("{name}: {seconds} s, at most {} MiB so far", bytes >> 20);
        match refusal {
            Some(words) => outcome.refused(1, &["bomb", words]),
            None => outcome.success(),
        };
        assert!(bytes <= MOST_BYTES, "{name}: {bytes} bytes of memory");
        assert!(seconds <= MOST_SECONDS, "{name}: {seconds} seconds");
    }
}
