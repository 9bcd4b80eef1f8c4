//! `build --output sif:FILE`: a SIF has what the OCI image has, for the readers that Debian has.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use crate::common::{
    image, odd,
    odd::bash,
    packages::*,
    sandbox::{Outcome, Sandbox, has, snapshot},
    workspace::workspace,
};

/// Where a SIF's file system begins: the offset of its partition (github.com/apptainer/sif).
fn partition(sif: &[u8]) -> usize {
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&sif[at..at + length]);
        u64::from_le_bytes(bytes)
    };
    let descriptors = (0..48).map(|index| 4096 + index * 585);
    let mut partitions = descriptors.filter(|at| number(*at, 4) == 0x4004).map(|at| number(at + 17, 8));
    partitions.next().expect("a SIF has a partition") as usize
}

fn unpack(sandbox: &Sandbox, sif: &str, to: &str) -> BTreeMap<String, String> {
    let offset = partition(&fs::read(sandbox.path(sif)).unwrap()).to_string();
    let mut command = sandbox.program("unsquashfs");
    Outcome::of(command.args(["-no-progress", "-o", &offset, "-d", to, sif])).success();
    snapshot(&sandbox.path(to))
}

#[test]
fn a_sif_has_the_tree_of_the_image() {
    if !has("unsquashfs") || !has("umoci") {
        return;
    }
    let sandbox = Sandbox::new();
    workspace(odd::packages()).platforms(&["linux-64"]).oci("cmd = [\"tool\"]").write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    let outcome = sandbox.build("ws", "sif:tool");
    assert_eq!(outcome.digest(), image::read(&sandbox.path("out"), "v1").digest);
    let mode = fs::metadata(sandbox.path("tool.sif")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);

    image::leave_one(&sandbox.path("out"), "v1", 0, "amd64");
    Outcome::of(sandbox.program("umoci").args(["unpack", "--rootless", "--image", "out:amd64", "bundle"])).success();
    let of_image = snapshot(&sandbox.path("bundle/rootfs"));
    let of_sif = unpack(&sandbox, "tool.sif", "unpacked");
    for (path, what) in &of_image {
        assert_eq!(of_sif.get(path), Some(what), "{path}");
        let attributes = |root: &str| {
            let metadata = fs::symlink_metadata(sandbox.path(root).join(path)).unwrap();
            (metadata.mode(), metadata.mtime())
        };
        assert_eq!(attributes("unpacked"), attributes("bundle/rootfs"), "{path}");
    }
    // What is added is for Apptainer.
    let added: Vec<&String> = of_sif.keys().filter(|path| !of_image.contains_key(*path)).collect();
    let places = [".singularity.d", ".run", ".exec", ".test", ".shell", "singularity", "environment"];
    let targets = ["dev", "proc", "sys", "tmp", "var", "home", "root", "etc"];
    for path in added {
        let first = path.split('/').next().unwrap();
        assert!(places.contains(&first) || targets.contains(&first), "{path}");
    }
}

#[test]
fn a_sif_for_each_architecture_and_always_the_same() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    sandbox.build("ws", "sif:one/tool.sif");
    assert_eq!(names(&sandbox.path("one")), ["tool-amd64.sif", "tool-arm64.sif"]);
    sandbox.run(&["build", "ws", "--cache-dir", "fresh", "-o", "sif:two/tool.sif"]).success();
    sandbox.run(&["build", "ws", "--arch", "arm64", "-o", "sif:two/only"]).success();
    let read = |path: &str| fs::read(sandbox.path(path)).unwrap();
    for (one, two) in [
        ("one/tool-amd64.sif", "two/tool-amd64.sif"),
        ("one/tool-arm64.sif", "two/tool-arm64.sif"),
        ("one/tool-arm64.sif", "two/only.sif"),
    ] {
        assert!(read(one) == read(two), "{one} {two}");
    }
    assert_eq!((&read("one/tool-amd64.sif")[45..47], &read("one/tool-arm64.sif")[45..47]), (&b"02"[..], &b"04"[..]));
    // What is killed leaves nothing under the name, and what it leaves beside it goes with the next build.
    fs::write(sandbox.path("two/.only.sif.partial-dead"), "half").unwrap();
    sandbox.run(&["build", "ws", "--arch", "arm64", "-o", "sif:two/only"]).success();
    assert_eq!(names(&sandbox.path("two")), ["only.sif", "tool-amd64.sif", "tool-arm64.sif"]);
}

#[test]
fn zstd_layers_make_a_zstd_sif() {
    let sandbox = Sandbox::new();
    workspace([package("tool", [file("bin/tool", "x")])]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    let compressor = |arguments: &[&str]| {
        sandbox.run(&[&["build", "ws", "-o", "sif:x"], arguments].concat()).success();
        let sif = fs::read(sandbox.path("x.sif")).unwrap();
        let at = partition(&sif);
        (sif[at..at + 4].to_vec(), sif[at + 20])
    };
    assert_eq!(compressor(&[]), (b"hsqs".to_vec(), 1));
    assert_eq!(compressor(&["--compression", "zstd"]), (b"hsqs".to_vec(), 6));
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `test` is in both images, in all its forms, and says how it ended; without it there is no such file.
#[test]
fn a_test_is_in_the_image_and_in_the_sif() {
    let sandbox = Sandbox::new();
    let script = |test: &str, wanted: i32| {
        let tasks = "[tasks]\nshow = { cmd = \"printf '%s|' 'a b' c\", env = { WORD = \"x\" } }\n";
        workspace([bash()]).platforms(&["linux-64"]).manifest(tasks).oci(test).write(&sandbox.path("ws"));
        fs::write(sandbox.path("ws/check.sh"), "#!/bin/sh\nexit 3\n").unwrap();
        sandbox.build("ws", "oci:out:v1");
        sandbox.build("ws", "sif:tool");
        let images = image::read(&sandbox.path("out"), "v1").images;
        let tree = images[0].tree();
        let of_image = image::content(&tree, ".singularity.d/test").to_vec();
        let _ = fs::remove_dir_all(sandbox.path("unpacked"));
        unpack(&sandbox, "tool.sif", "unpacked");
        assert_eq!(fs::read(sandbox.path("unpacked/.singularity.d/test")).unwrap(), of_image);
        let text = String::from_utf8(of_image).unwrap();
        // The shell and the directory are the image's; here are others.
        let local = text.replacen("cd '/app'\n", "", 1);
        let output = std::process::Command::new("sh").args(["-c", &local]).output().unwrap();
        assert_eq!(output.status.code(), Some(wanted), "{text}");
        (text, String::from_utf8(output.stdout).unwrap())
    };
    let head = "#!/opt/pixi/env/bin/bash\n# Written by pixi-oci: `test` of [tool.pixi-oci].\nset -e\ncd '/app'\n";
    let (one, said) = script("test = \"echo it works\"", 0);
    assert_eq!((one, &*said), (format!("{head}echo it works\n"), "it works\n"));
    let (_, said) = script("test = [\"echo one\", \"false\", \"echo two\"]", 1);
    assert_eq!(said, "one\n");
    let (_, said) = script("test = { task = \"show\" }", 0);
    assert_eq!(said, "a b|c|");
    assert_eq!(script("test = { script = \"check.sh\" }", 3).0, "#!/bin/sh\nexit 3\n");
    workspace([bash()]).oci("test = []").write(&sandbox.path("ws"));
    let refused = sandbox.run(&["build", "ws"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("at least one command"), "{refused:?}");
}

#[test]
fn a_sif_is_verified_against_its_image() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    workspace([package("other", [file("bin/other", "x")])]).platforms(&["linux-64"]).write(&sandbox.path("other"));
    sandbox.build("ws", "oci:out:v1");
    sandbox.build("other", "oci:other-out:v1");
    for compression in ["gzip", "zstd"] {
        sandbox.run(&["build", "ws", "--compression", compression, "-o", "sif:tool"]).success();
        sandbox.run(&["build", "ws", "--compression", compression, "-o", "oci:out:v1"]).success();
        let verified = sandbox.run(&["verify", "image", "sif:tool.sif", "--against", "oci:out:v1"]).success();
        assert!(verified.stdout.contains("entries, those of the OCI image"), "{verified:?}");
    }
    let alone = sandbox.run(&["verify", "image", "sif:tool.sif", "--json"]).success();
    let report: serde_json::Value = serde_json::from_str(&alone.stdout).unwrap();
    assert_eq!((&report["architecture"], &report["compared"]), (&"amd64".into(), &false.into()));
    assert_eq!(report["findings"][0]["rule"], "not-compared");
    let wrong = sandbox.run(&["verify", "image", "sif:tool.sif", "--against", "oci:other-out:v1"]);
    let wrong = wrong.refused_with(3);
    assert!(wrong.stderr.contains("other-tree") && wrong.stderr.contains("which is not there"), "{wrong:?}");
    sandbox.run(&["verify", "image", "sif:tool.sif", "--", "true"]).refused(2, &["apptainer exec"]);
    sandbox.run(&["verify", "image", "sif:nowhere.sif"]).refused(1, &["nowhere.sif"]);
}

/// What is damaged is found, and never taken for something else; no damage makes the reader fail or run on.
#[test]
fn a_damaged_sif_is_found() {
    let sandbox = Sandbox::new();
    // So that a reference to earlier bytes cannot be to others that are the same.
    let lines: String = (0..30_000).map(|n| format!("{}\n", n * 7919 % 30_011)).collect();
    workspace([package("tool", [file("bin/tool", lines), file("share/empty", "")])])
        .platforms(&["linux-64"])
        .write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    sandbox.build("ws", "sif:tool");
    let whole = fs::read(sandbox.path("tool.sif")).unwrap();
    let at = partition(&whole);
    let used = u64::from_le_bytes(whole[at + 40..at + 48].try_into().unwrap()) as usize;
    let verify = |bytes: &[u8]| {
        fs::write(sandbox.path("damaged.sif"), bytes).unwrap();
        sandbox.run(&["verify", "image", "sif:damaged.sif", "--against", "oci:out:v1"])
    };
    for length in [0, 127, 128, 5000, at, at + 95, at + used - 1] {
        assert_eq!(verify(&whole[..length]).code, Some(3), "{length} bytes");
    }
    // Magic, version, architecture, places; superblock; contents; tables.
    let header = [33, 43, 46, 80, 104, 120, 4096 + 4, 4096 + 5, 4096 + 17];
    let superblock = [0, 12, 20, 26, 32, 48, 64, 72, 80].map(|field| at + field);
    let rest = (0..40).map(|n| at + 96 + n * (used - 96) / 40);
    for place in header.into_iter().chain(superblock).chain(rest).chain([at + used - 1]) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x41;
        let outcome = verify(&bytes);
        assert_eq!(outcome.code, Some(3), "byte {place} of {}: {outcome:?}", bytes.len());
    }
}
