//! Where images go: layouts, archives, several builds at a time, builds that fail or are killed.

use std::{
    collections::BTreeSet,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::common::{
    image, odd,
    packages::*,
    sandbox::{Outcome, Sandbox, has, snapshot},
    workspace::workspace,
};

#[test]
fn archives_hold_what_the_layout_holds() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    let archive = sandbox.build("ws", "oci-archive:out.tar:v1");
    fs::create_dir(sandbox.path("unpacked")).unwrap();
    tar::Archive::new(fs::File::open(sandbox.path("out.tar")).unwrap()).unpack(sandbox.path("unpacked")).unwrap();
    let index = image::read(&sandbox.path("unpacked"), "v1");
    assert_eq!(archive.digest(), index.digest);
    assert_eq!(index.digest, image::read(&sandbox.path("out"), "v1").digest);

    let refused = sandbox.run(&["build", "ws", "-o", "docker-archive:d.tar:demo:1"]);
    refused.refused(1, &["docker-archive:", "--arch", "oci-archive:"]);
    assert!(!sandbox.path("d.tar").exists());
    sandbox.run(&["build", "ws", "--arch", "arm64", "-o", "docker-archive:d.tar:demo:1"]).success();
    assert!(sandbox.path("d.tar").exists());
}

#[test]
fn destinations_that_are_none() {
    let sandbox = Sandbox::new();
    workspace([]).write(&sandbox.path("ws"));
    fs::create_dir(sandbox.path("full")).unwrap();
    fs::write(sandbox.path("full/precious"), "x").unwrap();
    fs::write(sandbox.path("file"), "x").unwrap();
    for (output, words) in [
        ("out", &["out", "oci:"][..]),
        ("docker://registry.example/x", &["docker://"]),
        ("oci:", &["oci:"]),
        ("oci:full:x", &["full"]),
        ("oci:file:x", &["file"]),
        ("oci:file/below:x", &["file"]),
        ("oci:out:-bad tag", &["-bad tag"]),
    ] {
        let outcome = sandbox.run(&["build", "ws", "-o", output]);
        assert!(matches!(outcome.code, Some(1 | 2)), "{output}: {outcome:?}");
        let code = outcome.code.unwrap();
        outcome.refused(code, words);
    }
    let left: BTreeSet<String> =
        fs::read_dir(sandbox.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, BTreeSet::from(["ws", "full", "file"].map(String::from)));
    assert_eq!(fs::read_dir(sandbox.path("full")).unwrap().count(), 1);
}

#[test]
fn skopeo_accepts_everything() {
    if !has("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    workspace(odd::packages()).oci("cmd = [\"tool\"]").write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    sandbox.run(&["build", "ws", "-o", "oci:out:zstd", "--compression", "zstd"]).success();
    sandbox.build("ws", "oci-archive:out.tar:v1");
    sandbox.run(&["build", "ws", "--arch", "amd64", "-o", "docker-archive:docker.tar:example.org/demo:1"]).success();
    let skopeo = |arguments: &[&str]| {
        let mut command = sandbox.program("skopeo");
        Outcome::of(
            command.args(["--insecure-policy", "--override-os", "linux", "--override-arch", "amd64"]).args(arguments),
        )
        .success()
    };
    for source in ["oci:out:v1", "oci:out:zstd", "oci-archive:out.tar:v1", "docker-archive:docker.tar"] {
        assert!(skopeo(&["inspect", "--raw", source]).stdout.contains("\"schemaVersion\""), "{source}");
        assert!(skopeo(&["inspect", "--config", source]).stdout.contains("CONDA_PREFIX=/opt/pixi/env"), "{source}");
    }
    for source in ["oci:out:v1", "oci:out:zstd", "oci-archive:out.tar:v1"] {
        // Digests are kept.
        let all = format!("oci:copy:{}", source.len());
        skopeo(&["copy", "--all", "--preserve-digests", source, &all]);
        let raw = skopeo(&["inspect", "--raw", source]).stdout;
        assert_eq!(skopeo(&["inspect", "--raw", &all]).stdout, raw, "{source}");
    }
    // Images of one architecture each under names of their own, as the stages of docs/nix.md are.
    for arch in ["amd64", "arm64"] {
        let (staged, copied) = (format!("oci:stages:{arch}"), format!("oci:copied:{arch}"));
        sandbox.run(&["build", "ws", "--arch", arch, "-o", &staged]).success();
        skopeo(&["copy", "--all", &staged, &copied]);
    }
    for arch in ["amd64", "arm64"] {
        let raw = |layout: &str| skopeo(&["inspect", "--raw", &format!("oci:{layout}:{arch}")]).stdout;
        assert!(raw("stages") == raw("copied") && raw("stages").contains(arch), "{arch}");
    }
    // A docker archive has its own form of the manifest; the layers' tars are the same.
    skopeo(&["copy", "docker-archive:docker.tar", "oci:from-docker:x"]);
    let diff_ids = |source: &str| {
        let config: serde_json::Value = serde_json::from_str(&skopeo(&["inspect", "--config", source]).stdout).unwrap();
        config["rootfs"]["diff_ids"].clone()
    };
    assert_eq!(diff_ids("oci:from-docker:x"), diff_ids("oci:out:v1"));
}

#[test]
fn umoci_unpacks_it() {
    if !has("umoci") {
        return;
    }
    let sandbox = Sandbox::new();
    workspace(odd::packages()).platforms(&["linux-64"]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:v1");
    let image = image::read(&sandbox.path("out"), "v1").images.remove(0);
    let tree = image.tree();
    image::leave_one(&sandbox.path("out"), "v1", 0, "amd64");
    Outcome::of(sandbox.program("umoci").args(["unpack", "--rootless", "--image", "out:amd64", "bundle"])).success();
    let found = snapshot(&sandbox.path("bundle/rootfs"));
    let expected: BTreeSet<&String> = tree.keys().collect();
    assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected);
    for (path, entry) in &tree {
        match &entry.kind {
            image::Kind::File(bytes) => assert_eq!(&fs::read(sandbox.path("bundle/rootfs").join(path)).unwrap(), bytes),
            image::Kind::Link(target) => assert_eq!(found[path], format!("link to {target}")),
            _ => assert_eq!(found[path], "directory"),
        }
    }
}

#[test]
fn builds_at_the_same_time_lose_nothing() {
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..8).map(|i| format!("w{i}")).collect();
    for (i, name) in names.iter().enumerate() {
        let own = package(&format!("own{i}"), [file(&format!("share/{name}"), name)]);
        let shared = package("shared", [file("share/shared", vec![b'x'; 300_000])]);
        workspace([own, shared]).write(&sandbox.path(name));
    }
    for round in 0..2 {
        let running: Vec<_> = names
            .iter()
            .map(|name| {
                let output = format!("oci:out:{name}-{round}");
                let mut command = sandbox.pixi_oci(&["build", name, "-o", &output]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in running {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    for name in &names {
        let first = image::read(&sandbox.path("out"), &format!("{name}-0"));
        assert_eq!(first.digest, image::read(&sandbox.path("out"), &format!("{name}-1")).digest);
        assert!(first.images.iter().all(|image| image.tree().contains_key(&format!("opt/pixi/env/share/{name}"))));
    }
    assert_eq!(image::roots(&sandbox.path("out")).len(), 16);
    no_remains(&sandbox);
}

/// Also one that fails late: when most layers have been made.
#[test]
fn a_build_that_fails_leaves_the_destination_as_it_was() {
    let sandbox = Sandbox::new();
    workspace(odd::packages()).write(&sandbox.path("good"));
    let grows = file("bin/x", b"/short/lib\0").list("file_mode", "binary").list("prefix_placeholder", "/short");
    let bad = package("bad", [grows]);
    workspace(odd::packages().into_iter().chain([bad])).write(&sandbox.path("bad"));
    workspace(odd::packages()).oci("include = [\"nope\"]").write(&sandbox.path("late"));
    for output in ["oci:fresh:x", "oci-archive:fresh.tar:x", "sif:fresh"] {
        sandbox.run(&["build", "bad", "-o", output]).refused(1, &["bad"]);
        sandbox.run(&["build", "late", "-o", output]).refused(1, &["\"nope\""]);
    }
    assert!(!sandbox.path("fresh").exists() && !sandbox.path("fresh.tar").exists());
    sandbox.build("good", "oci:out:x");
    sandbox.build("good", "oci-archive:out.tar:x");
    let before = (snapshot(&sandbox.path("out")), fs::read(sandbox.path("out.tar")).unwrap());
    for workspace in ["bad", "late"] {
        for output in ["oci:out:x", "oci:out:y", "oci-archive:out.tar:x"] {
            assert_eq!(sandbox.run(&["build", workspace, "-o", output]).code, Some(1));
        }
    }
    assert!(before == (snapshot(&sandbox.path("out")), fs::read(sandbox.path("out.tar")).unwrap()));
    no_remains(&sandbox);
}

#[test]
fn a_build_that_is_killed_leaves_the_destination_as_it_was() {
    let sandbox = Sandbox::new();
    let noise: Vec<u8> =
        (0..4_000_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes()).collect();
    let slow: Vec<_> = (0..3).map(|i| package(&format!("slow{i}"), [file(&format!("share/{i}"), &noise)])).collect();
    workspace(slow).write(&sandbox.path("slow"));
    workspace([package("a", [])]).write(&sandbox.path("ws"));
    sandbox.build("ws", "oci:out:x");
    let before = snapshot(&sandbox.path("out"));
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        for wait in [30, 150, 400] {
            let mut child = sandbox
                .pixi_oci(&["build", "slow", "-o", "oci:out:slow"])
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            let kill = sandbox.program("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
            let start = Instant::now();
            let status = child.wait().unwrap();
            if status.success() || !kill.success() {
                continue;
            }
            assert!(start.elapsed() < Duration::from_secs(5));
            // Before the program listens, signals end it as they do every program.
            assert!(status.code() == code || status.code().is_none(), "{signal}: {status}");
            assert_eq!(image::read(&sandbox.path("out"), "x").digest, sandbox.build("ws", "oci:out:x").digest());
        }
    }
    // The next build has removed what the killed ones left.
    sandbox.build("ws", "oci:out:x");
    let after = snapshot(&sandbox.path("out"));
    if !image::roots(&sandbox.path("out")).iter().any(|root| root.to_string().contains("slow")) {
        assert_eq!(before, after);
    }
    no_remains(&sandbox);
}

/// Nothing beside the destinations, and nothing in the directory for temporary files.
fn no_remains(sandbox: &Sandbox) {
    for directory in ["", "../tmp"] {
        for entry in fs::read_dir(sandbox.path(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{directory}/{name}");
        }
    }
}
