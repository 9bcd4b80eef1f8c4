//! What skopeo and umoci say. Each test is skipped, with a line that says so, where its program is missing.

use pixi_oci_test_need::{From, need};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pixi_oci_image::Architecture;
use pixi_oci_podman::{find_container_engine, load};
use serde_json::Value;

use super::fixture::{Fixture, fixture};
use crate::{DestinationRef, publish};

/// Whether a program of Debian's is there.
fn have(program: &str) -> bool {
    pixi_oci_test_need::program(program, pixi_oci_test_need::From::Debian)
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Publishes and returns the text that names the result.
fn put(fixture: &Fixture, transport: &str, name: Option<&str>) -> String {
    let path: PathBuf = fixture.dir.path().join(transport);
    let name = name.map(|name| format!(":{name}")).unwrap_or_default();
    let text = format!("{transport}:{}{name}", path.display());
    let target = DestinationRef::parse(&text).unwrap();
    let destination = target.open(None).unwrap();
    publish(&fixture.index, &fixture.blobs, &*destination, target.name.as_deref()).unwrap();
    text
}

fn diff_ids(fixture: &Fixture) -> Vec<String> {
    fixture.index.images[0].layers.iter().map(|layer| layer.diff_id.to_string()).collect()
}

fn config_diff_ids(config: &str) -> Vec<String> {
    let config: Value = serde_json::from_str(config).unwrap();
    config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn skopeo_copies_an_index_unchanged() {
    if !have("skopeo") {
        return;
    }
    let fixture = fixture("skopeo", &[Architecture::Amd64, Architecture::Arm64]);
    for (transport, name) in
        [("oci", None), ("oci", Some("v1")), ("oci-archive", Some("demo:v1")), ("oci-archive", None)]
    {
        let source = put(&fixture, transport, name);
        let copy = fixture.dir.path().join(format!("copy-{transport}-{}", name.is_some()));
        if (transport, name) == ("oci", Some("v1")) {
            let raw = run("skopeo", &["inspect", "--raw", &source]);
            assert_eq!(raw.as_bytes(), fixture.index.bytes);
        }
        let target = format!("oci:{}:copy", copy.display());
        run("skopeo", &["copy", "--quiet", "--all", "--insecure-policy", &source, &target]);
        assert_eq!(run("skopeo", &["inspect", "--raw", &target]).as_bytes(), fixture.index.bytes, "{source}");
        let layers = fixture.index.images.iter().flat_map(|image| &image.layers);
        for layer in layers {
            assert!(copy.join("blobs/sha256").join(layer.descriptor.digest.hex()).is_file());
        }
    }
}

#[test]
fn skopeo_reads_a_docker_archive_with_gzip_and_zstd() {
    if !have("skopeo") {
        return;
    }
    let fixture = fixture("docker", &[Architecture::Amd64]);
    for name in [None, Some("demo:1"), Some("localhost:5000/me/demo")] {
        let source = put(&fixture, "docker-archive", name);
        let config = run("skopeo", &["inspect", "--config", "--raw", &source]);
        assert_eq!(config.as_bytes(), fixture.index.images[0].config_bytes, "the image id is the same everywhere");
        let target = format!("oci:{}:copy", fixture.dir.path().join("copy").display());
        run("skopeo", &["copy", "--quiet", "--insecure-policy", &source, &target]);
        assert_eq!(config_diff_ids(&run("skopeo", &["inspect", "--config", "--raw", &target])), diff_ids(&fixture));
    }
}

#[test]
fn umoci_unpacks_what_is_in_it() {
    if !have("umoci") {
        return;
    }
    // umoci has no choice of platform: the index has one image. umoci 0.4 does not know zstd, so that layer goes.
    let mut fixture = fixture("umoci", &[Architecture::Amd64]);
    fixture.index = super::fixture::only_gzip(&fixture.index);
    put(&fixture, "oci", Some("v1"));
    let image = format!("{}:v1", fixture.dir.path().join("oci").display());
    let bundle = fixture.dir.path().join("bundle");
    run("umoci", &["unpack", "--rootless", "--image", &image, bundle.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(bundle.join("rootfs/opt/shared")).unwrap(), "shared".repeat(5000));
    let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"][0], "/opt/own");
}

/// Says loudly when podman is there and cannot work, as in many containers.
fn works(podman: &Path) -> bool {
    let info = Command::new(podman).arg("info").output().unwrap();
    let works = info.status.success();
    need(&format!("podman that works: {}", String::from_utf8_lossy(&info.stderr).trim()), From::Machine, works)
}

#[test]
fn podman_loads_both_archives() {
    if !have("podman") {
        return;
    }
    let fixture = fixture("podman", &[Architecture::Amd64]);
    let storage = fixture.dir.path().join("storage");
    let podman = fixture.dir.path().join("podman");
    let script = format!(
        "#!/bin/sh\nexec podman --root {0}/root --runroot {0}/run --storage-driver vfs --events-backend file \"$@\"\n",
        storage.display()
    );
    write_program(&podman, &script);
    if !works(&podman) {
        return;
    }
    assert_eq!(find_container_engine(fixture.dir.path().as_os_str()).unwrap(), podman);
    for (transport, name) in [("docker-archive", "localhost/demo:1"), ("oci-archive", "localhost/demo:2")] {
        put(&fixture, transport, Some(name));
        let said = load(&podman, &fixture.dir.path().join(transport)).unwrap();
        assert!(said.contains(name), "{transport}: {said}");
        let podman = podman.to_str().unwrap();
        let config = run(podman, &["image", "inspect", "--format", "{{.Id}}", name]);
        assert_eq!(config.trim(), fixture.index.images[0].config.digest.hex(), "{transport}");
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}
