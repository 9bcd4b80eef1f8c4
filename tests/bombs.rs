//! Small inputs that would take much: each is refused, or built, in bounded memory and time.
//!
//! Slow, and prints what each took: `cargo test --release -p pixi-oci --test main bombs -- --ignored --nocapture`.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::common::{
    odd,
    packages::{Package, bzip2_bytes, entry, file, package, tar},
    pypi::locked,
    sandbox::Sandbox,
    server::serve,
    wheels,
    workspace::{Workspace, workspace},
};

const MOST_BYTES: u64 = 500 << 20;
/// An unoptimised build takes ten times as long.
const MOST_SECONDS: f64 = if cfg!(debug_assertions) { 300.0 } else { 30.0 };

/// What a command took, and what it said.
struct Measured {
    code: Option<i32>,
    stderr: String,
    seconds: f64,
    /// At its peak.
    bytes: u64,
}

/// Runs a command, and asks the kernel every other millisecond how much memory it has had. (What the kernel says at its end is
/// also what this process had when it started it.)
fn measured(command: &mut Command, stderr: &Path) -> Measured {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(File::create(stderr).unwrap()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let peak = || {
        let status = fs::read_to_string(&status).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let mut kilobytes = 0;
    let ended = loop {
        kilobytes = peak().unwrap_or(0).max(kilobytes);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(kilobytes > 1000, "it ran");
    Measured {
        code: ended.code(),
        stderr: fs::read_to_string(stderr).unwrap(),
        seconds: start.elapsed().as_secs_f64(),
        bytes: kilobytes * 1024,
    }
}

/// The bytes of all files in a directory.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
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
        ("a million listed paths", many(0, 1_000_000), Some("paths")),
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
    println!("| input | kB | seconds | MiB | end |\n|---|---|---|---|---|");
    let mut wrong = Vec::new();
    for (name, ws, refusal) in bombs {
        let sandbox = Sandbox::new();
        ws.write(&sandbox.path("ws"));
        let build = ["build", "ws", "--arch", "amd64", "-o", "oci:out:v1"];
        wrong.extend(check(name, &sandbox, &build, &["bomb"], refusal));
    }
    wrong.extend(channels());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What channels and workspaces say, for `lock`.
fn channels() -> Vec<String> {
    let mut wrong = Vec::new();
    let zeros = zstd::encode_all(std::io::repeat(0).take(8 << 30), 1).unwrap();
    let entries: String = (0..1_000_000).map(|n| format!(",\"a-1-{n}.conda\":{{}}")).collect();
    let entries = format!("{{\"packages.conda\":{{{}}}}}", &entries[1..]);
    for (name, file, body, refusal) in [
        ("repodata of zeros", "repodata.json.zst", zeros, "unpack to more than"),
        ("repodata of a million names", "repodata.json.zst", zstd::encode_all(entries.as_bytes(), 19).unwrap(), "x"),
        ("plain repodata of a million names", "repodata.json", entries.into_bytes(), "x"),
    ] {
        let sandbox = Sandbox::new();
        for subdir in ["linux-64", "noarch"] {
            let directory = sandbox.path("ws/channel").join(subdir);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), &body).unwrap();
        }
        let channel = serve(&sandbox.path("ws/channel"));
        let manifest = format!(
            "[workspace]\nname = \"x\"\nplatforms = [\"linux-64\"]\nchannels = [{channel:?}]\n[dependencies]\nx = \"*\"\n"
        );
        fs::write(sandbox.path("ws/pixi.toml"), manifest).unwrap();
        wrong.extend(check(name, &sandbox, &["lock", "ws"], &[], Some(refusal)));
    }
    wrong
}

/// Runs a command, prints what it took, and says what of that, or of its end, is wrong.
#[allow(clippy::print_stdout)] // The table is what it is for.
fn check(name: &str, sandbox: &Sandbox, command: &[&str], words: &[&str], refusal: Option<&str>) -> Vec<String> {
    let input = size(&sandbox.path("ws"));
    let took = measured(&mut sandbox.pixi_oci(command), &sandbox.path("stderr"));
    let end = if took.code == Some(0) { "done" } else { "refused" };
    println!("| {name} | {} | {:.1} | {} | {end} |", input / 1000, took.seconds, took.bytes >> 20);
    let said = took.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = |word: &&str| said.contains(*word);
    let is_right = match refusal {
        Some(refusal) => took.code == Some(1) && words.iter().chain([&refusal]).all(says),
        None => took.code == Some(0),
    };
    let faults = [
        (!is_right, format!("{name}: ended with {:?}: {said}", took.code)),
        (took.bytes > MOST_BYTES, format!("{name}: {} MiB of memory", took.bytes >> 20)),
        (took.seconds > MOST_SECONDS, format!("{name}: {} seconds", took.seconds)),
    ];
    faults.into_iter().filter_map(|(is, text)| is.then_some(text)).collect()
}
