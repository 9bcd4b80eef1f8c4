//! Same workspace, lock file and options: same bytes, whatever the machine is like.

use pixi_oci_test_need::{From, need};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{
    image::{self, Kind},
    odd,
    packages::*,
    sandbox::{BINARY, Outcome, Sandbox, copy_tree, has, sha256, snapshot},
    server::serve,
    workspace::{Workspace, edit_lock, workspace},
};

/// A bit of everything: odd packages, one that is bigger than a piece of a layer, application files.
fn project() -> Workspace {
    let noise = |seed: u32| -> Vec<u8> {
        (0..800_000_u32)
            .flat_map(|i| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes())
            .collect()
    };
    let big = (0..3).map(|i| package(&format!("big{i}"), [file(&format!("share/big{i}"), noise(i))]));
    workspace(odd::packages().into_iter().chain(big)).manifest("[activation.env]\nB = \"2\"\nA = \"$B\"").oci(
        "include = [\"src\"]\nlabels = { b = \"1\", a = \"2\" }\nports = [1, 2, 3]\ndirectories = [\"/z\", \"/y\"]",
    )
}

fn write(project: &Workspace, root: &Path) {
    project.write(root);
    fs::create_dir_all(root.join("src/deep")).unwrap();
    for (path, text) in [("src/b.py", "b"), ("src/a.py", "a"), ("src/deep/c.py", "c"), ("src/run.sh", "#!/bin/sh\n")] {
        fs::write(root.join(path), text).unwrap();
    }
    fs::set_permissions(root.join("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs `command`, which builds into `oci:out:x` of its sandbox, and gives the layout.
fn layout_of(sandbox: &Sandbox, command: &mut Command) -> BTreeMap<String, String> {
    Outcome::of(command).success();
    let layout = snapshot(&sandbox.path("out"));
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    layout
}

const BUILD: [&str; 4] = ["build", "ws", "-o", "oci:out:x"];

/// The sandbox with the workspace, and the layout that every other build must have.
fn prepared() -> (Sandbox, BTreeMap<String, String>) {
    let sandbox = Sandbox::new();
    write(&project(), &sandbox.path("ws"));
    let layout = layout_of(&sandbox, &mut sandbox.pixi_oci(&BUILD));
    assert!(layout.len() > 15, "{layout:#?}");
    (sandbox, layout)
}

#[test]
fn time_zone_locale_umask_and_variables_do_not_show() {
    let (sandbox, expected) = prepared();
    let shell = |script: &str| {
        let mut command = sandbox.program("/bin/sh");
        command.args(["-c", &format!("{script} exec \"$@\""), "sh", BINARY]).args(BUILD);
        command
    };
    for mask in ["000", "022", "077"] {
        assert_eq!(layout_of(&sandbox, &mut shell(&format!("umask {mask};"))), expected, "umask {mask}");
    }
    for (name, value) in [
        ("TZ", "Pacific/Kiritimati"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LANG", "ja_JP.eucJP"),
        ("USER", "somebody"),
        ("HOSTNAME", "elsewhere"),
        ("PATH", "/nowhere"),
        ("TMPDIR", "/tmp"),
        ("CONDA_PREFIX", "/opt/conda"),
        ("PIXI_PROJECT_NAME", "another"),
        ("PIXI_ENVIRONMENT_NAME", "another"),
        ("PYTHONPATH", "/x"),
        ("RUST_LOG", "trace"),
        ("COLUMNS", "20"),
        ("TERM", "dumb"),
    ] {
        let mut command = sandbox.pixi_oci(&BUILD);
        assert_eq!(layout_of(&sandbox, command.env(name, value)), expected, "{name}={value}");
    }
    if has("faketime") {
        for time in ["1999-12-31 23:59:59", "2040-02-29 12:00:00"] {
            let mut command = sandbox.program("faketime");
            command.args(["-f", &format!("@{time}"), BINARY]).args(BUILD);
            assert_eq!(layout_of(&sandbox, &mut command), expected, "{time}");
        }
    }
    if has("setarch") {
        let mut command = sandbox.program("setarch");
        command.args(["--uname-2.6", "--addr-no-randomize", BINARY]).args(BUILD);
        assert_eq!(layout_of(&sandbox, &mut command), expected, "setarch");
    }
}

#[test]
fn threads_do_not_show() {
    let (sandbox, expected) = prepared();
    if has("taskset") {
        for cpus in ["0", "0-63"] {
            let mut command = sandbox.program("taskset");
            command.args(["-c", cpus, BINARY]).args(BUILD);
            assert_eq!(layout_of(&sandbox, &mut command), expected, "CPUs {cpus}");
        }
    }
    for _ in 0..3 {
        assert_eq!(layout_of(&sandbox, &mut sandbox.pixi_oci(&BUILD)), expected);
    }
}

/// Home, cache, place of the workspace, order of its directories, times and modes of its files, its spelling.
#[test]
fn places_do_not_show() {
    let (sandbox, expected) = prepared();
    let other = Sandbox::new();
    let elsewhere = "elsewhere with spaces/and/more/depth";
    for order in [|_: &mut Vec<PathBuf>| (), |entries: &mut Vec<PathBuf>| entries.reverse()] {
        let _ = fs::remove_dir_all(other.path("elsewhere with spaces"));
        copy_tree(&sandbox.path("ws"), &other.path(elsewhere), order);
        let path = other.path(elsewhere);
        fs::set_permissions(path.join("src/a.py"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(path.join("src/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        Outcome::of(other.program("touch").args(["-d", "1985-10-26", "src/a.py", "pixi.toml"]).current_dir(&path))
            .success();
        let build = |workspace: &str, output: &str, directory: &Path| {
            let mut command = other.pixi_oci(&["build", workspace, "-o", output]);
            layout_of(&other, command.current_dir(directory))
        };
        let to = format!("oci:{}:x", other.path("out").display());
        assert_eq!(build(elsewhere, "oci:out:x", &other.path("")), expected);
        assert_eq!(build(".", &to, &path), expected, "in the workspace");
        assert_eq!(build("../../src/..", &to, &path.join("src/deep")), expected, "below it");
        assert_eq!(build(path.join("pixi.toml").to_str().unwrap(), &to, Path::new("/")), expected, "by its manifest");
        std::os::unix::fs::symlink(elsewhere, other.path("link")).unwrap();
        assert_eq!(build("link", "oci:out:x", &other.path("")), expected, "through a link");
        fs::remove_file(other.path("link")).unwrap();
    }
    // A cold cache, a warm one, another one.
    for cache in ["a", "a", "b"] {
        let mut command = other.pixi_oci(&["build", elsewhere, "-o", "oci:out:x", "--cache-dir", cache]);
        assert_eq!(layout_of(&other, &mut command), expected, "cache {cache}");
    }
    // Without the channel, from the cache alone.
    fs::remove_dir_all(other.path(elsewhere).join("channel")).unwrap();
    let mut command = other.pixi_oci(&["build", elsewhere, "-o", "oci:out:x", "--offline"]);
    assert_eq!(layout_of(&other, &mut command), expected, "offline");
}

#[test]
fn another_user_builds_the_same() {
    let (sandbox, expected) = prepared();
    // Only root can become somebody else.
    let root = Outcome::of(sandbox.program("id").arg("-u")).stdout.trim() == "0";
    if !need("root, who can become somebody else", From::Machine, root) || !has("setpriv") {
        return;
    }
    sandbox.open_to_everybody();
    let copy = sandbox.path("pixi-oci");
    fs::copy(BINARY, &copy).unwrap();
    let mut command = sandbox.program("setpriv");
    command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(copy).args(BUILD);
    assert_eq!(layout_of(&sandbox, &mut command), expected);
}

#[test]
fn a_channel_over_http_gives_the_same_packages() {
    let (sandbox, _) = prepared();
    let address = serve(&sandbox.path("ws"));
    copy_tree(&sandbox.path("ws"), &sandbox.path("remote"), |_| ());
    fs::remove_dir_all(sandbox.path("remote/channel")).unwrap();
    edit_lock(&sandbox.path("remote"), "./channel", &format!("{address}/channel"));
    sandbox.build("ws", "oci:out:file");
    sandbox.run(&["build", "remote", "-o", "oci:out:http", "--cache-dir", "fresh"]).success();
    // Records name the channel, and so the layers differ; everything else in them is the same.
    let contents = |tag: &str| -> Vec<_> {
        let index = image::read(&sandbox.path("out"), tag);
        let layers = index.images.into_iter().flat_map(|image| image.layers);
        let layers = layers.filter(|layer| layer.annotations["dev.pixi-oci.packages"].is_string());
        let entries = layers.flat_map(|layer| layer.entries).map(|(path, mut entry)| {
            if let (Kind::File(bytes), true) = (&mut entry.kind, path.contains("/conda-meta/")) {
                let mut record: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                let url = record["url"].as_str().unwrap();
                let expected = if tag == "file" { "file:///local-channel/" } else { &*format!("{address}/channel/") };
                assert!(url.starts_with(expected), "{url}");
                // A package that is locked by its path is of no channel.
                assert!(record["channel"] == expected || tag == "file" && record["channel"].is_null());
                record["url"] = "".into();
                record["channel"] = "".into();
                *bytes = record.to_string().into_bytes();
            }
            (path, entry)
        });
        entries.collect()
    };
    assert!(contents("file") == contents("http"));
    // Twice from the server, with another cache: the same.
    let once = image::read(&sandbox.path("out"), "http").digest;
    let twice = sandbox.run(&["build", "remote", "-o", "oci:out:http", "--cache-dir", "fresh2"]).success();
    assert_eq!(twice.digest(), once);
    let offline =
        sandbox.run(&["build", "remote", "-o", "oci:out:http", "--cache-dir", "fresh2", "--offline"]).success();
    assert_eq!(offline.digest(), once);
}

#[test]
fn source_date_epoch_changes_only_what_is_no_package() {
    let (sandbox, _) = prepared();
    sandbox.build("ws", "oci:out:without");
    let at = |epoch: &str| {
        let mut command = sandbox.pixi_oci(&["build", "ws", "-o", &format!("oci:out:at{epoch}")]);
        Outcome::of(command.env("SOURCE_DATE_EPOCH", epoch)).success();
        image::read(&sandbox.path("out"), &format!("at{epoch}"))
    };
    let without = image::read(&sandbox.path("out"), "without");
    assert_eq!(at("1577836800").digest, without.digest, "the default is 2020-01-01");
    let later = at("1700000000");
    assert_ne!(later.digest, without.digest);
    for (image, other) in without.images.iter().zip(&later.images) {
        assert_eq!(other.config["created"], "2023-11-14T22:13:20Z");
        assert_eq!(other.config["config"]["Labels"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
        let last = image.layers.len() - 2;
        for (number, (layer, other)) in image.layers.iter().zip(&other.layers).enumerate() {
            assert_eq!(layer.digest == other.digest, number < last, "layer {number} of {}", image.layers.len());
            if number >= last {
                assert!(other.entries.iter().all(|(_, entry)| entry.mtime == 1_700_000_000));
            }
        }
    }
}

/// The example, from the repository, as the workspace `hello`.
pub fn example(sandbox: &Sandbox) {
    let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/hello"));
    // A copy without the repository around it, whose address and revision would be in the image.
    for part in ["pixi.toml", "pixi.lock", "channel"] {
        let (from, to) = (example.join(part), sandbox.path("hello").join(part));
        if from.is_dir() {
            copy_tree(&from, &to, |_| ());
        } else {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
}

/// As a text that can be read: first what is in it, then the digest.
#[test]
fn the_example_is_as_it_was() {
    let sandbox = Sandbox::new();
    example(&sandbox);
    sandbox.build("hello", "oci:out:hello");
    let found = dump(&image::read(&sandbox.path("out"), "hello"));
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/hello.txt"));
    let expected = fs::read_to_string(golden).unwrap_or_default();
    // What is in the image comes first; the digests follow from it.
    let (contents, digests): (Vec<&str>, Vec<&str>) = expected.lines().partition(|line| !line.starts_with("sha256:"));
    let (found_contents, found_digests): (Vec<&str>, Vec<&str>) =
        found.lines().partition(|line| !line.starts_with("sha256:"));
    let differs =
        "tests/golden/hello.txt differs; if that is meant, raise LAYER_FORMAT_VERSION and take this for it:\n";
    assert_eq!(contents, found_contents, "{differs}{found}");
    assert_eq!(digests, found_digests, "{differs}{found}");
}

/// Every layer as a listing, the configuration, and below the digests, each on a line of its own.
fn dump(index: &image::Index) -> String {
    let mut text = String::new();
    let mut digests = String::new();
    for image in &index.images {
        writeln!(text, "{}", image.platform).unwrap();
        for layer in &image.layers {
            let packages = layer.annotations["dev.pixi-oci.packages"].as_str().unwrap_or("-");
            writeln!(text, "  layer {packages}").unwrap();
            for (path, entry) in &layer.entries {
                let (letter, rest) = match &entry.kind {
                    Kind::Directory => ('d', String::new()),
                    Kind::File(bytes) => ('f', format!(" {} {}", bytes.len(), sha256(bytes))),
                    Kind::Link(target) => ('l', format!(" -> {target}")),
                    Kind::HardLink(target) => ('h', format!(" => {target}")),
                };
                writeln!(text, "    {letter} {:04o} {} {path}{rest}", entry.mode, entry.mtime).unwrap();
            }
            writeln!(digests, "{} {} layer {packages}", layer.diff_id, layer.digest).unwrap();
        }
        let mut config = image.config.clone();
        config["rootfs"]["diff_ids"] = "see below".into();
        writeln!(text, "  configuration {config:#}").unwrap();
        writeln!(digests, "{} manifest {}", image.digest, image.platform).unwrap();
    }
    writeln!(text, "annotations {:#}", index.document["annotations"]).unwrap();
    writeln!(digests, "{} index", index.digest).unwrap();
    text + &digests
}
