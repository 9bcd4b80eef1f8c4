//! The layer cache under builds at once, `kill -9`, and somebody who writes into it.

use pixi_oci_test_need::{From, need};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use pixi_oci_test_registry::{Profile, Registry};

use crate::common::{
    odd,
    packages::{Package, file, noise, package},
    sandbox::{Outcome, Sandbox, snapshot},
    workspace::workspace,
};

/// 70 kB that cannot be compressed, so that each has a layer.
fn big(seed: u64) -> Package {
    package(&format!("big{seed}"), [file(&format!("share/big{seed}"), noise(seed, 70_000))])
}

fn write(sandbox: &Sandbox) {
    workspace(odd::packages().into_iter().chain((0..6).map(big))).write(&sandbox.path("ws"));
}

fn build(sandbox: &Sandbox, output: &str, size: &str) -> Command {
    let mut command = sandbox.pixi_oci(&["build", "ws", "-v", "-o", output]);
    command.env("PIXI_OCI_LAYER_CACHE_SIZE", size);
    command
}

/// The layout that every build must give.
fn expected(sandbox: &Sandbox) -> BTreeMap<String, String> {
    Outcome::of(&mut build(sandbox, "oci:expected:x", "0")).success();
    snapshot(&sandbox.path("expected"))
}

#[test]
fn builds_at_once_may_take_the_cache_from_one_another() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let expected = expected(&sandbox);
    // Room for two layers, for all, for one: each build trims what the others have just put there.
    for round in 0..3 {
        let children: Vec<_> = ["150kB", "1GB", "80kB", "150kB"]
            .iter()
            .enumerate()
            .map(|(n, size)| {
                let mut command = build(&sandbox, &format!("oci:out{round}{n}:x"), size);
                (n, command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
            })
            .collect();
        for (n, child) in children {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "round {round}: {}", String::from_utf8_lossy(&ended.stderr));
            assert_eq!(snapshot(&sandbox.path(&format!("out{round}{n}"))), expected, "round {round}, build {n}");
        }
    }
    // What is left in it is whole.
    Outcome::of(&mut build(&sandbox, "oci:last:x", "1GB")).success();
    assert_eq!(snapshot(&sandbox.path("last")), expected);
    sandbox.run(&["verify", "image", "oci:last"]).success();
}

#[test]
fn a_build_that_is_killed_anywhere_leaves_a_cache_that_can_be_used() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let expected = expected(&sandbox);
    let mut fewest = usize::MAX;
    for lines in [1, 10, 29, 33, 37] {
        let mut child =
            build(&sandbox, "oci:killed:x", "1GB").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // A line for each archive and each layer; the kill comes wherever the build is when it has written so many.
        let said = BufReader::new(child.stderr.take().unwrap()).lines().take(lines).count();
        child.kill().unwrap();
        child.wait().unwrap();
        fewest = fewest.min(said);
        let again = Outcome::of(&mut build(&sandbox, "oci:again:x", "1GB")).success();
        assert_eq!(snapshot(&sandbox.path("again")), expected, "killed after {said} lines: {}", again.stderr);
        // What the dead build had begun is swept away, beside the output and in the cache.
        let left: Vec<PathBuf> = [sandbox.path(""), sandbox.path("../cache/pixi-oci/layers/2")]
            .iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()))
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.'))
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "killed after {said} lines");
        fs::remove_dir_all(sandbox.path("again")).unwrap();
        let _ = fs::remove_dir_all(sandbox.path("killed"));
        fs::remove_dir_all(sandbox.path("../cache")).unwrap();
        fs::create_dir(sandbox.path("../cache")).unwrap();
    }
    assert_eq!(fewest, 1, "the first was killed at its beginning");
}

/// Changes a byte of every kept layer, in place, and puts the time back: size, time and inode are the same.
fn poison(layers: &std::path::Path) {
    for directory in fs::read_dir(layers.join("blobs")).unwrap() {
        for blob in fs::read_dir(directory.unwrap().path()).unwrap() {
            let path = blob.unwrap().path();
            if path.extension().is_some() {
                continue;
            }
            let before = fs::metadata(&path).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
            let after = fs::metadata(&path).unwrap();
            assert_eq!(
                (after.ino(), after.mtime_nsec(), after.len()),
                (before.ino(), before.mtime_nsec(), before.len())
            );
        }
    }
}

/// Only the time at which the file was changed tells, which nobody can put back.
#[test]
fn bytes_that_changed_unseen_are_never_published_or_copied() {
    let sandbox = Sandbox::new();
    write(&sandbox);
    let expected = expected(&sandbox);
    Outcome::of(&mut build(&sandbox, "oci:first:x", "1GB")).success();
    poison(&sandbox.path("../cache/pixi-oci/layers/2"));

    let registry = Registry::start(Profile::plain());
    let to = registry.reference("app");
    let mut command = sandbox.pixi_oci(&["publish", "ws", "--publish", "--to", &to, "--tag", "t"]);
    let published = Outcome::of(command.env("PIXI_OCI_LAYER_CACHE_SIZE", "1GB")).success();
    assert_eq!(published.stderr.matches("of the cache were damaged").count(), 1, "{}", published.stderr);
    assert_eq!(registry.broken_tags(), Vec::<String>::new());
    poison(&sandbox.path("../cache/pixi-oci/layers/2"));
    Outcome::of(&mut build(&sandbox, "oci:linked:x", "1GB")).success();
    sandbox.run(&["verify", "image", "oci:linked"]).success();
    assert_eq!(snapshot(&sandbox.path("linked")), expected);

    // Into another file system they are copied, and so hashed; the layer is made anew, and kept again.
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let is_another = fs::metadata(other.path()).unwrap().dev() != fs::metadata(sandbox.path("")).unwrap().dev();
    if !need("a second file system", From::Machine, is_another) {
        return;
    }
    for _ in 0..2 {
        let output = format!("oci:{}:x", other.path().join("out").display());
        Outcome::of(&mut build(&sandbox, &output, "1GB")).success();
        assert_eq!(snapshot(&other.path().join("out")), expected);
        fs::remove_dir_all(other.path().join("out")).unwrap();
    }
    Outcome::of(&mut build(&sandbox, "oci:mended:x", "1GB")).success();
    assert_eq!(snapshot(&sandbox.path("mended")), expected);
}
