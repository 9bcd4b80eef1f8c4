//! `build --output sif:FILE`: a SIF has what the OCI image has, for the readers that Debian has.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use crate::common::{
    image, odd,
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
