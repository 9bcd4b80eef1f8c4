//! A SIF is read by Debian's unsquashfs, and by a checker of the container that knows offsets only.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, Write},
    path::Path,
    process::Command,
    sync::Arc,
};

use pixi_oci_cachedir::{self as cachedir, Root};
use pixi_oci_image::MediaType;
use pixi_oci_layer::Digest;
use serde_json::json;

use crate::{Error, Layer, LayeredImage, RunCache, write};

struct Entry {
    path: &'static str,
    kind: tar::EntryType,
    mode: u32,
    owner: (u64, u64),
    link: &'static str,
    content: Vec<u8>,
}

fn entry(path: &'static str, kind: tar::EntryType, mode: u32) -> Entry {
    Entry { path, kind, mode, owner: (0, 0), link: "", content: Vec::new() }
}

fn directory(path: &'static str, mode: u32) -> Entry {
    entry(path, tar::EntryType::Directory, mode)
}

fn file(path: &'static str, mode: u32, content: &[u8]) -> Entry {
    Entry { content: content.to_vec(), ..entry(path, tar::EntryType::Regular, mode) }
}

fn link(path: &'static str, kind: tar::EntryType, link: &'static str) -> Entry {
    Entry { link, ..entry(path, kind, 0o777) }
}

impl Entry {
    fn of(self, user: u64, group: u64) -> Self {
        Self { owner: (user, group), ..self }
    }
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_path(entry.path).unwrap();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_size(entry.content.len() as u64);
        header.set_mtime(1_600_000_000);
        if !entry.link.is_empty() {
            header.set_link_name(entry.link).unwrap();
        }
        header.set_cksum();
        builder.append(&header, &*entry.content).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Fixture {
    config: Vec<u8>,
    tars: Vec<Vec<u8>>,
}

impl Fixture {
    fn new(layers: &[Vec<Entry>]) -> Self {
        let tars: Vec<_> = layers.iter().map(|entries| tar(entries)).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-02-29T12:00:00Z",
            "config": {"Cmd": ["tool", "it's"], "Entrypoint": ["/opt/pixi/entrypoint"], "Labels": {"a": "b"}, "Env": ["A=1"]},
            "rootfs": {"type": "layers", "diff_ids": tars.iter().map(|tar| Digest::of(tar).to_string()).collect::<Vec<_>>()},
        });
        Self { config: config.to_string().into_bytes(), tars }
    }

    fn write(&self) -> Result<Vec<u8>, Error> {
        self.write_with(None)
    }

    fn write_with(&self, runs: Option<&RunCache>) -> Result<Vec<u8>, Error> {
        let layer = |tar: &Vec<u8>| {
            let mut blob = tempfile::tempfile().unwrap();
            blob.write_all(tar).unwrap();
            Layer {
                file: Arc::new(blob),
                size: tar.len() as u64,
                digest: Digest::of(tar),
                media_type: MediaType::ImageLayer,
            }
        };
        let image = LayeredImage {
            digest: Digest::of(b"manifest"),
            config: &self.config,
            layers: self.tars.iter().map(layer).collect(),
        };
        let mut file = tempfile::tempfile().unwrap();
        write(&image, &file, runs)?;
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> i64 {
    let mut all = [0; 8];
    all[..length].copy_from_slice(&bytes[at..at + length]);
    i64::from_le_bytes(all)
}

/// The objects by data type, after everything about the container was checked.
fn objects(sif: &[u8]) -> Vec<(i64, String, &[u8])> {
    let text =
        |at: usize, length: usize| String::from_utf8_lossy(&sif[at..at + length]).trim_end_matches('\0').to_owned();
    assert_eq!(&sif[..32], b"#!/usr/bin/env run-singularity\n\0");
    assert_eq!((text(32, 10), text(42, 3), text(45, 3)), ("SIF_MAGIC".into(), "01".into(), "02".into()));
    assert_eq!(&sif[48..64], [0; 16]);
    assert_eq!([number(sif, 64, 8), number(sif, 72, 8)], [-62_135_596_800; 2]);
    let [free, total, at, size, data_at, data_size] = [80, 88, 96, 104, 112, 120].map(|at| number(sif, at, 8));
    assert_eq!((total, at, size, data_at), (48, 4096, 48 * 585, 4096 + 48 * 585));
    assert_eq!(data_at + data_size, sif.len() as i64);
    let (mut end, mut found) = (data_at, Vec::new());
    for index in 0..(total - free) as usize {
        let at = 4096 + index * 585;
        let kind = number(sif, at, 4);
        assert_eq!((sif[at + 4], number(sif, at + 5, 4)), (1, index as i64 + 1));
        assert_eq!((number(sif, at + 9, 4), number(sif, at + 13, 4)), (0xf000_0001, 0));
        let [offset, size, padded] = [17, 25, 33].map(|field| number(sif, at + field, 8));
        assert_eq!(padded, offset - end + size);
        assert_eq!([41, 49].map(|field| number(sif, at + field, 8)), [-62_135_596_800; 2]);
        end = offset + size;
        if kind == 0x4004 {
            assert_eq!(offset % 4096, 0);
            assert_eq!((number(sif, at + 201, 4), number(sif, at + 205, 4), text(at + 209, 3)), (1, 2, "02".into()));
        }
        found.push((kind, text(at + 73, 128), &sif[offset as usize..end as usize]));
    }
    assert_eq!(end, sif.len() as i64);
    assert!(sif[4096 + found.len() * 585..data_at as usize].iter().all(|byte| *byte == 0));
    found
}

/// Mode, size and time of each path, and the target of a link; read by unsquashfs.
fn listed(partition: &[u8], dir: &Path) -> BTreeMap<String, String> {
    let file = dir.join("partition");
    fs::write(&file, partition).unwrap();
    let output = Command::new("unsquashfs").env("TZ", "UTC").arg("-lln").arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| {
        let (attributes, path) = line.split_once(" squashfs-root")?;
        let words: Vec<&str> = attributes.split_whitespace().collect();
        assert_eq!(words[1], "0/0", "{line}");
        let (path, target) = path.split_once(" -> ").unwrap_or((path, ""));
        Some((
            path.to_owned(),
            format!(
                "{} {} {}{}",
                words[0],
                words[2],
                words[3],
                if target.is_empty() { String::new() } else { format!(" {target}") }
            ),
        ))
    });
    lines.collect()
}

fn layers() -> Vec<Vec<Entry>> {
    use tar::EntryType::{Char, Fifo, Link, Symlink};
    let base = vec![
        directory("etc", 0o755),
        file("etc/shadow", 0o640, b"x").of(0, 42),
        file("etc/hosts", 0o644, b"127.0.0.1 base\n"),
        directory("usr/bin", 0o755),
        file("usr/bin/su", 0o4755, b"su"),
        file("usr/bin/chage", 0o2755, b"chage").of(0, 42),
        file("usr/bin/man", 0o6755, b"man").of(6, 12),
        file("usr/bin/old", 0o755, b"old"),
        directory("usr/lib", 0o755),
        file("usr/lib/gone/x", 0o644, b"x"),
        link("lib", Symlink, "usr/lib"),
        directory("var/mail", 0o2775).of(0, 8),
        directory("var/tmp", 0o1777),
        directory("opaque", 0o700),
        file("opaque/a", 0o644, b"a"),
        entry("dev/null", Char, 0o666),
        entry("run/pipe", Fifo, 0o644),
        file("replaced", 0o644, b"a file"),
    ];
    let own = vec![
        file("usr/bin/.wh.old", 0, b""),
        file("usr/lib/.wh.gone", 0, b""),
        file("opaque/b", 0o644, b"b"),
        file("opaque/.wh..wh..opq", 0, b""),
        link("usr/bin/su2", Link, "usr/bin/su"),
        file("lib/through", 0o644, &b"through a link ".repeat(20_000)),
        entry("replaced", Char, 0o644),
        file(".singularity.d/env/91-pixi-oci.sh", 0o755, b"export A=1\n"),
        file(".singularity.d/test", 0o755, b"#!/bin/sh\ntrue\n"),
    ];
    vec![base, own]
}

#[test]
fn layers_are_one_tree_and_everything_is_roots() {
    let dir = tempfile::tempdir().unwrap();
    let sif = Fixture::new(&layers()).write().unwrap();
    let objects = objects(&sif);
    assert_eq!(objects.iter().map(|object| object.0).collect::<Vec<_>>(), [0x4001, 0x4006, 0x4006, 0x4004]);
    let tree = listed(objects[3].2, dir.path());
    let of_layers: BTreeMap<&str, &str> = tree
        .iter()
        .filter(|(path, line)| line.contains("2020-09-13") && !path.is_empty())
        .map(|(path, line)| (path.as_str(), line.trim_end_matches(" 2020-09-13")))
        .collect();
    let expected = [
        ("/.singularity.d/env/91-pixi-oci.sh", "-rwxr-xr-x 11"),
        ("/.singularity.d/test", "-rwxr-xr-x 15"),
        ("/etc", "drwxr-xr-x 44"),
        ("/etc/hosts", "-rw-r--r-- 15"),
        ("/etc/shadow", "-rw-r----- 1"),
        ("/lib", "lrwxrwxrwx 7 2020-09-13 usr/lib"),
        ("/opaque", "drwx------ 24"),
        ("/opaque/b", "-rw-r--r-- 1"),
        ("/usr/bin", "drwxr-xr-x 63"),
        ("/usr/bin/chage", "-rwxr-xr-x 5"),
        ("/usr/bin/man", "-rwxr-xr-x 3"),
        ("/usr/bin/su", "-rwsr-xr-x 2"),
        ("/usr/bin/su2", "-rwsr-xr-x 2"),
        ("/usr/lib", "drwxr-xr-x 30"),
        ("/usr/lib/through", "-rw-r--r-- 300000"),
        ("/var/mail", "drwxrwsr-x 3"),
        ("/var/tmp", "drwxrwxrwt 3"),
    ];
    assert_eq!(of_layers.keys().collect::<Vec<_>>(), expected.iter().map(|(path, _)| path).collect::<Vec<_>>());
    for (path, line) in
        expected.iter().filter(|(path, _)| !matches!(*path, "/etc" | "/usr/bin" | "/usr/lib" | "/opaque"))
    {
        assert_eq!(of_layers[path], *line, "{path}");
    }
    for (path, mode) in [("/etc", "drwxr-xr-x"), ("/opaque", "drwx------")] {
        assert!(of_layers[path].starts_with(mode), "{path}");
    }
    for gone in ["/usr/bin/old", "/usr/lib/gone", "/opaque/a", "/dev/null", "/run/pipe", "/replaced"] {
        assert!(!tree.contains_key(gone), "{gone}");
    }
}

#[test]
fn what_apptainer_needs_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let sif = Fixture::new(&layers()).write().unwrap();
    let objects = objects(&sif);
    let tree = listed(objects[3].2, dir.path());
    let unpacked = dir.path().join("root");
    let output =
        Command::new("unsquashfs").arg("-d").arg(&unpacked).arg(dir.path().join("partition")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).unwrap();
    // What the image has stays; what Apptainer binds over and the image has not is there.
    assert_eq!((read("etc/hosts"), read("etc/resolv.conf")), ("127.0.0.1 base\n".into(), String::new()));
    for path in ["dev", "proc", "sys", "tmp", "home", "root", ".singularity.d/libs"] {
        assert!(tree[&format!("/{path}")].starts_with("drwxr-xr-x"), "{path}");
    }
    for (path, target) in
        [("singularity", ".singularity.d/runscript"), ("environment", ".singularity.d/env/90-environment.sh")]
    {
        assert_eq!(fs::read_link(unpacked.join(path)).unwrap(), Path::new(target));
        assert!(unpacked.join(path).exists());
    }
    for name in ["exec", "run", "shell", "start", "test"] {
        assert!(tree[&format!("/.singularity.d/actions/{name}")].starts_with("-rwxr-xr-x"));
        let checked = Command::new("sh").arg("-n").arg(unpacked.join(".singularity.d/actions").join(name)).status();
        assert!(checked.unwrap().success());
    }
    // On this machine there is no test, as in an image that has none: that is no failure.
    let tested = Command::new("sh").arg(unpacked.join(".singularity.d/actions/test")).output().unwrap();
    assert!(tested.status.success() && tested.stderr == b"the image has no test\n", "{tested:?}");
    assert_eq!(read(".singularity.d/labels.json"), r#"{"a":"b"}"#);
    let deffile = format!(
        "# Written by pixi-oci of the OCI image with this manifest.\nbootstrap: oci\nfrom: {}\n",
        Digest::of(b"manifest")
    );
    assert_eq!(read(".singularity.d/Singularity"), deffile);
    assert_eq!(
        (objects[0].2, &*objects[1].1, &*objects[2].1),
        (deffile.as_bytes(), "inspect-metadata.json", "oci-config.json")
    );
    let metadata: serde_json::Value = serde_json::from_slice(objects[1].2).unwrap();
    assert_eq!(metadata["type"], "container");
    let attributes = &metadata["data"]["attributes"];
    assert_eq!(attributes["labels"], json!({"a": "b"}));
    assert_eq!(attributes["environment"], json!({"/.singularity.d/env/91-pixi-oci.sh": "export A=1\n"}));
    assert_eq!(attributes["test"], "#!/bin/sh\ntrue\n");
    assert_eq!(attributes["runscript"], json!(read(".singularity.d/runscript")));
    let config: serde_json::Value = serde_json::from_slice(objects[2].2).unwrap();
    assert_eq!(config["Env"], json!(["A=1"]));
}

#[test]
fn the_run_script_starts_what_the_image_starts() {
    let script = |entrypoint: &[&str], cmd: &[&str]| {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        crate::apptainer::runscript(&words(entrypoint), &words(cmd))
    };
    let run = |script: &str, arguments: &[&str]| {
        let output = Command::new("sh").args(["-c", script, "runscript"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let hard = "it's \"$HOME\" `x` \\ *\n";
    let printf = ["printf", "<%s>"];
    // The line by which Apptainer knows that its own interpreter can run it.
    assert!(script(&[], &[]).lines().any(|line| line == "eval \"set ${SINGULARITY_OCI_RUN}\""));
    assert_eq!(run(&script(&printf, &[hard]), &[]), (Some(0), format!("<{hard}>")));
    assert_eq!(run(&script(&printf, &["a", "b"]), &[hard, ""]), (Some(0), format!("<{hard}><>")));
    assert_eq!(run(&script(&printf, &[]), &["x"]), (Some(0), "<x>".into()));
    assert_eq!(run(&script(&[], &["printf", hard]), &[]).0, Some(0));
    assert_eq!(run(&script(&[], &["false"]), &["printf", "%s", "y"]), (Some(0), "y".into()));
    assert_eq!(run(&script(&[], &[]), &[]), (Some(1), String::new()));
}

#[test]
fn the_same_image_is_the_same_file() {
    let fixture = Fixture::new(&layers());
    let first = fixture.write().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert!(first == pool.install(|| fixture.write()).unwrap(), "the number of threads shows");
}

#[test]
fn what_was_compressed_before_gives_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::new(directory.path());
    let noise = |seed: usize| (0..300_000).map(|n| (n * n / (seed + 7) % 251) as u8).collect::<Vec<_>>();
    let image = |content: &[u8]| {
        let one = vec![file("one", 0o644, &noise(1)), file("small", 0o644, b"x"), file("empty", 0o644, b"")];
        Fixture::new(&[one, vec![file("two", 0o755, content)], vec![file("small", 0o644, b"y")]])
    };
    let kept = || {
        let mut names: Vec<_> = cachedir::files_below(&root.join("sif/1/blobs")).unwrap();
        names.retain(|path| path.extension().is_none());
        names.sort();
        names
    };
    let runs = RunCache::open(&root, u64::MAX);
    let with = |content: &[u8], runs: &RunCache| image(content).write_with(Some(runs)).unwrap();
    let cold = image(b"content").write().unwrap();
    for _ in 0..2 {
        assert!(with(b"content", &runs) == cold, "the cache shows");
        assert_eq!(kept().len(), 3);
    }
    // Of another image only the layer that changed is new; of another order of layers, what is left of one.
    let before = kept();
    assert!(with(b"other", &runs) == image(b"other").write().unwrap());
    assert_eq!((kept().len(), before.iter().all(|path| kept().contains(path))), (4, true));
    // What is damaged is made again, and said.
    let spoil = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let records = cachedir::files_below(&root.join("sif/1/records")).unwrap();
    for path in [&kept()[0], &records[0], &kept()[1]] {
        spoil(path);
        assert!(with(b"content", &runs) == cold && with(b"other", &runs) == image(b"other").write().unwrap());
    }
    assert_eq!(root.take_damaged().len(), 3);
    // A limit is kept, by what is put and by what is left; without room, or a place, nothing is kept.
    let small = RunCache::open(&root, 1000);
    assert!(with(b"third", &small) == image(b"third").write().unwrap());
    let sizes: u64 = kept().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!((1..=1000).contains(&sizes), "{sizes}");
    assert_eq!(cachedir::files_below(&root.join("sif/1/records")).unwrap().len(), kept().len());
    let nowhere = RunCache::open(&Root::new("/proc/nothing"), u64::MAX);
    assert!(with(b"content", &nowhere) == cold);
}

#[test]
fn images_that_make_no_sense() {
    use tar::EntryType::Link;
    let error = |layers: &[Vec<Entry>]| {
        let error = Fixture::new(layers).write().err().unwrap();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    };
    let nothing = error(&[vec![link("a", Link, "nothing")]]);
    assert!(nothing.contains("\"a\" is a hard link to \"nothing\", which is no file of the image"), "{nothing}");
    let directory = error(&[vec![directory("d", 0o755), link("a", Link, "d")]]);
    assert!(directory.contains("which is no file"), "{directory}");
    let mut damaged = Fixture::new(&[vec![file("a", 0o644, b"x")]]);
    damaged.tars[0][512] = b'y';
    let damaged = damaged.write().err().unwrap();
    assert!(format!("{damaged:?}").contains("not that of its diff id"), "{damaged:?}");
    let mut foreign = Fixture::new(&layers());
    foreign.config = br#"{"architecture":"riscv64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    assert!(foreign.write().err().unwrap().to_string().contains("riscv64"));
}
