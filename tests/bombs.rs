//! Small inputs that would take much: each is refused, or built, in bounded memory and time.
//!
//! Slow, and prints what each took: `cargo test --release -p pixi-oci --test main bombs -- --ignored --nocapture`.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use pixi_oci_test_registry::{Profile, Registry};
use serde_json::json;

use crate::common::{
    odd,
    packages::{Item, Package, bzip2_bytes, entry, file, package, symlink, tar},
    poison::{forge_from_top, with_file},
    pypi::locked,
    sandbox::{Sandbox, sha256},
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
    assert!(kilobytes > 1000 || start.elapsed() < Duration::from_millis(50), "it ran");
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
    wrong.extend(bases());
    wrong.extend(workspaces());
    wrong.extend(published());
    wrong.extend(channels());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A layer as it is compressed, and the digest of its tar.
struct Layer {
    media_type: &'static str,
    blob: Vec<u8>,
    diff_id: String,
}

impl Layer {
    fn gzip(tar: Vec<u8>) -> Self {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&tar).unwrap();
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        Self { media_type, blob: packed.finish().unwrap(), diff_id: format!("sha256:{}", sha256(&tar)) }
    }

    /// Zeros without end, four bytes for 128 KiB of them; what they are the tar of is never found out.
    fn endless() -> Self {
        let block = [(((128 << 10) << 3) | 2_u32).to_le_bytes()[..3].to_vec(), vec![0]].concat();
        let head = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        Self { media_type, blob: [head, block.repeat(500_000)].concat(), diff_id: format!("sha256:{}", sha256(b"")) }
    }
}

/// A layout with an image of these layers.
fn write_layout(layout: &Path, layers: &[Layer]) {
    let put = |media_type: &str, bytes: &[u8]| {
        let hex = sha256(bytes);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let descriptors: Vec<_> = layers.iter().map(|layer| put(layer.media_type, &layer.blob)).collect();
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors});
    let root = put(media_type, manifest.to_string().as_bytes());
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [root]}).to_string()).unwrap();
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}").unwrap();
}

/// Base images, for a build on them and for `verify`.
fn bases() -> Vec<String> {
    let link = |path: String, target: &str| symlink(&path, target);
    let deep = (0..120).map(|n| file(&format!("{n}/{}x", "d/".repeat(1990)), ""));
    let implied = (0..3000).map(|n| file(&format!("{n}/{}x", "d/".repeat(250)), ""));
    let target = format!("{}/", "\u{1}".repeat(199)).repeat(20);
    let links = |layer: usize| (0..60_000).map(|n| link(format!("{layer}-{n}"), &target)).collect::<Vec<_>>();
    let target = format!("{}l", "d/../".repeat(40));
    let chain = (0..38).map(|n| link(format!("l{n}"), &format!("{target}{}", n + 1)));
    let below = (0..3000).map(|n| file(&format!("l0/{n}"), ""));
    let gzip = |items: Vec<Item>| Layer::gzip(tar(&items));
    let most = vec![file("etc/os-release", "x"), file("lib/x", "x")];
    let honest = (0..100_000).map(|n| file(&format!("usr/share/{}/{n}", n / 100), "")).collect();
    let rows: Vec<(&str, Vec<Layer>, Option<&str>)> = vec![
        ("a base of deep paths", vec![gzip(deep.collect())], Some("components; at most 256")),
        ("a base of implied directories", vec![gzip(implied.collect())], None),
        ("a base of long links", (0..3).map(|n| gzip(links(n))).collect(), Some("take more than")),
        ("a base of links in a chain", vec![gzip(chain.chain(below).collect())], None),
        ("a base of zeros without end", vec![gzip(most), Layer::endless()], Some("unpacks to more than")),
        ("a base of 100,000 files", vec![gzip(honest)], None),
    ];
    let mut wrong = Vec::new();
    for (name, layers, refusal) in rows {
        let sandbox = Sandbox::new();
        write_layout(&sandbox.path("ws/base"), &layers);
        workspace([]).platforms(&["linux-64"]).oci_only("base = \"oci:base\"").write(&sandbox.path("ws"));
        wrong.extend(check(name, &sandbox, &["build", "ws", "-o", "oci:out:v1"], &["base"], refusal));
        if refusal.is_some() {
            let verified =
                check(&format!("{name}, verified"), &sandbox, &["verify", "image", "oci:ws/base"], &[], None);
            // It ends as it should, whatever it found.
            wrong.extend(verified.into_iter().filter(|fault| !fault.contains("ended with Some(3)")));
        }
    }
    wrong
}

/// Manifests and lock files, also one that is in an image.
fn workspaces() -> Vec<String> {
    let mut wrong = Vec::new();
    let features = |number: usize| (0..number).map(|n| format!("[feature.f{n}]\n")).collect::<String>();
    let used: String = (0..18_000).map(|n| format!("[feature.f{n}.dependencies]\np{n} = \"*\"\n")).collect();
    let names: Vec<String> = (0..18_000).map(|n| format!("\"f{n}\"")).collect();
    let environment = format!("[environments]\nbig = [{}]\n", names.join(", "));
    let brackets = |number: usize| format!("version: 6\nenvironments: {}", "[".repeat(number));
    let texts = format!("version: 6\nenvironments: {{}}\npackages:\n{}", "- conda: x\n".repeat(800_000));
    let empty = workspace([]).platforms(&["linux-64"]);
    for (name, ws, lock, refusal) in [
        (
            "a manifest of 200,000 features",
            empty.clone().manifest(&features(200_000)),
            None,
            Some("bigger than 1048576"),
        ),
        ("a manifest of 1 MB of features", empty.clone().manifest(&features(60_000)), None, None),
        (
            "an environment of 18,000 features",
            empty.clone().manifest(&used).manifest(&environment),
            None,
            Some("pixi.lock"),
        ),
        (
            "a manifest of 5 MB of brackets",
            empty.clone().manifest(&format!("x = {}", "[".repeat(5 << 20))),
            None,
            Some(""),
        ),
        ("a lock file of brackets", empty.clone(), Some(brackets(150_000)), Some("deep")),
        ("a lock file of 800,000 packages", empty.clone(), Some(texts), Some("values")),
    ] {
        let sandbox = Sandbox::new();
        ws.write(&sandbox.path("ws"));
        if let Some(lock) = lock {
            fs::write(sandbox.path("ws/pixi.lock"), lock).unwrap();
        }
        let mut build = vec!["build", "ws", "-o", "oci:out:v1"];
        build.extend(name.starts_with("an environment").then_some(["-e", "big"]).into_iter().flatten());
        wrong.extend(check(name, &sandbox, &build, &[], refusal));
    }
    let sandbox = Sandbox::new();
    workspace([package("tool", [])]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:ws/layout:x");
    forge_from_top(&sandbox.path("ws/layout"), 0, |tar| {
        *tar = with_file(tar, "app/pixi.lock", brackets(150_000).as_bytes());
    });
    let verified =
        check("a lock file of brackets in an image", &sandbox, &["verify", "image", "oci:ws/layout:x"], &[], None);
    let ended = verified.iter().any(|fault| fault.contains("ended with Some(3)"));
    wrong.extend(verified.into_iter().filter(|fault| !fault.contains("ended with Some(3)")));
    wrong.extend((!ended).then(|| "a lock file of brackets in an image was not refused".to_owned()));
    wrong
}

/// `layers.json` of a published image from which layers are reused: one that is too large, or no table, counts as missing.
fn published() -> Vec<String> {
    let mut wrong = Vec::new();
    let nested = format!("{}{}", "[".repeat(5 << 20), "]".repeat(5 << 20));
    let entries: Vec<String> = (0..200_000).map(|n| format!("\"{n:064x}\":{{\"size\":1,\"facts\":{{}}}}")).collect();
    let conda = format!("{{\"version\":1,\"layers\":[],\"conda\":{{{}}},\"wheels\":{{}}}}", entries.join(","));
    for (name, table) in [
        ("a published table of 200 MiB", vec![b' '; 200 << 20]),
        ("a published table of brackets", nested.into_bytes()),
        ("a published table of 200,000 packages", conda.into_bytes()),
    ] {
        let (sandbox, registry) = (Sandbox::new(), Registry::start(Profile::plain()));
        workspace([package("tool", [])]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
        sandbox.build("ws", "oci:ws/layout:x");
        forge_from_top(&sandbox.path("ws/layout"), 1, |tar| *tar = with_file(tar, "opt/pixi/layers.json", &table));
        let to = registry.reference("app");
        let publish = ["publish", "--from", "oci:ws/layout:x", "--to", &to, "--tag", "t", "--publish"];
        sandbox.run(&publish).success();
        let from = format!("{to}:t");
        let build = ["build", "ws", "--cache-from", &from, "-o", "oci:out:v1"];
        wrong.extend(check(name, &sandbox, &build, &[], None));
    }
    wrong
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
