//! `build --output sif:FILE`: a SIF has what the OCI image has, for the readers that Debian has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Stdio,
    time::Duration,
};

use pixi_oci_test_need::{From, need};
use pixi_oci_test_registry::checker::digest;

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

/// Bytes that do not compress.
fn noise(seed: u32) -> Vec<u8> {
    let word = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes();
    (0..2_000_000_u32).flat_map(word).collect()
}

#[test]
fn the_sif_of_the_example_is_as_it_was() {
    let sandbox = Sandbox::new();
    crate::reproducible::example(&sandbox);
    let mut found = String::new();
    for compression in ["gzip", "zstd"] {
        sandbox.run(&["build", "hello", "--compression", compression, "-o", "sif:hello"]).success();
        for arch in ["amd64", "arm64"] {
            let sif = fs::read(sandbox.path(&format!("hello-{arch}.sif"))).unwrap();
            found.push_str(&format!("{compression} {arch} {} {}\n", sif.len(), digest(&sif)));
        }
    }
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sif.txt"));
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(expected, found, "if that is meant, raise `PLACE` in crates/sif/src/runs.rs and take this:\n{found}");
}

/// Of a changed image only the changed layers are compressed, and the file is the one that is made from nothing.
#[test]
fn what_did_not_change_is_not_compressed_again() {
    let sandbox = Sandbox::new();
    let write = |content: &str| {
        let tool = package("tool", [file("bin/tool", content).mode(0o755)]);
        workspace([tool, package("other", [file("share/other", "same")])])
            .platforms(&["linux-64"])
            .write(&sandbox.path("ws"));
    };
    let kept = || -> BTreeSet<String> {
        let records = snapshot(&sandbox.path("kept/sif/1/records")).into_keys();
        records.filter(|path| path.contains('/')).collect()
    };
    let cached = || {
        let mut command = sandbox.pixi_oci(&["build", "ws", "--cache-dir", "kept", "-o", "sif:cached"]);
        Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success();
        fs::read(sandbox.path("cached.sif")).unwrap()
    };
    let anew = || {
        sandbox.build("ws", "sif:anew");
        fs::read(sandbox.path("anew.sif")).unwrap()
    };
    write("1");
    let one = cached();
    let first = kept();
    assert!(one == anew() && one == cached());
    assert_eq!(kept(), first);
    write("2");
    let two = cached();
    assert!(two != one && two == anew());
    // The package, and the environment layer, which lists the layers; the application layer has the lock file.
    let new: Vec<_> = kept().difference(&first).cloned().collect();
    assert!(first.is_subset(&kept()) && first.len() >= 4 && new.len() == 3, "{first:?} {new:?}");
}

/// A build that is killed, or has no room, leaves the SIF that was there.
#[test]
fn nothing_half_written_has_the_name() {
    let sandbox = Sandbox::new();
    workspace([package("a", [])]).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    let large: Vec<_> =
        (0..3).map(|n| package(&format!("large{n}"), [file(&format!("share/{n}"), noise(n))])).collect();
    workspace(large).platforms(&["linux-64"]).write(&sandbox.path("large"));
    sandbox.build("ws", "sif:out/tool");
    sandbox.build("large", "oci:layout");
    let before = fs::read(sandbox.path("out/tool.sif")).unwrap();
    for wait in [50, 200, 500, 1000] {
        let mut command = sandbox.pixi_oci(&["build", "large", "-o", "sif:out/tool"]);
        let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        assert!(fs::read(sandbox.path("out/tool.sif")).unwrap() == before, "killed after {wait} ms");
    }
    sandbox.build("ws", "sif:out/tool");
    // Layers have 8 MB each, and the SIF has three times as much.
    let mut limited = sandbox.program("sh");
    let script = "ulimit -f 30000; exec \"$0\" build large -o sif:out/tool";
    limited.args(["-c", script, crate::common::sandbox::BINARY]);
    let outcome = Outcome::of(&mut limited);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("File too large"), "{outcome:?}");
    assert!(fs::read(sandbox.path("out/tool.sif")).unwrap() == before);
    assert_eq!(names(&sandbox.path("out")), ["tool.sif"]);
}

/// `apptainer test` runs what `test` says, activated.
#[test]
#[allow(clippy::disallowed_methods, reason = "Apptainer is where its user has put it")]
fn apptainer_runs_the_test() {
    let channel = pixi_oci_test_need::variable("PIXI_OCI_REAL_CHANNEL", From::Debian);
    let base = pixi_oci_test_need::variable("PIXI_OCI_REAL_BASE", From::Debian);
    let (Some(channel), Some(base)) = (channel, base) else { return };
    if !pixi_oci_test_need::program("apptainer", From::Elsewhere) {
        return;
    }
    let sandbox = Sandbox::new();
    let base = format!("oci:{}:debian", base.display());
    for (name, test, code) in [("good", "import numpy; print(numpy.__name__)", 0), ("bad", "import nothing", 1)] {
        let workspace = Path::new(&channel).join("workspaces/flask");
        let set = format!("test=[\"python -c '{test}'\"]");
        let output = format!("sif:{name}");
        let arguments = ["build", workspace.to_str().unwrap(), "--frozen", "--arch", "amd64", "--base", &base];
        sandbox.run(&[&arguments[..], &["--set", &set, "-o", &output]].concat()).success();
        let mut apptainer = sandbox.program("apptainer");
        // Without FUSE it is unpacked.
        let apptainer = apptainer.args(["test", "--unsquash", &format!("{name}.sif")]);
        let outcome = Outcome::of(apptainer.env("PATH", std::env::var_os("PATH").unwrap()));
        let starts = !["container creation failed", "capability set", "user namespace"]
            .iter()
            .any(|why| outcome.stderr.contains(why));
        if !need("containers that Apptainer starts", From::Machine, starts) {
            return;
        }
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert_eq!(outcome.stdout.contains("numpy"), code == 0, "{outcome:?}");
    }
}
