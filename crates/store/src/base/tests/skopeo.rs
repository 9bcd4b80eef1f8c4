//! Images that only skopeo can read.

use pixi_oci_test_need::{From, need};
use std::{fs, process::Command};

use pixi_oci_image::{Architecture::Amd64, Architecture::Arm64, MediaType};
use pixi_oci_layer::{Compression, Digest};

use super::fixture::{Fixture, OCI, have, layer};
use crate::base::{BaseOptions, BaseRef, resolve_base};

fn skopeo(args: &[&str]) -> Result<(), String> {
    let output = Command::new("skopeo").args(args).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn archives_and_directories() {
    if !have("skopeo") {
        return;
    }
    let mut fixture = Fixture::new();
    // It is on this machine, whatever it is.
    fixture.offline = true;
    let image = fixture.image(OCI, "linux/amd64", &[layer("a"), layer("b")]);
    fixture.names(&[(&image, Some("v1"))]);
    let from_layout = fixture.resolve(&fixture.layout(":v1"), Amd64).unwrap();
    let diff_ids =
        |base: &crate::base::BaseImage| -> Vec<_> { base.layers.iter().map(|layer| layer.entry.diff_id).collect() };
    for transport in ["docker-archive", "oci-archive", "dir"] {
        let text = format!("{transport}:{}", fixture.path().join(transport).display());
        let name = if transport == "dir" { "" } else { ":example.org/base:v1" };
        let reference = format!("{text}{name}");
        skopeo(&["copy", "--quiet", &fixture.layout(":v1"), &reference]).unwrap();
        let base = fixture.resolve(&reference, Amd64).unwrap();
        assert_eq!(base.reference, reference);
        assert_eq!(diff_ids(&base), diff_ids(&from_layout));
        assert_eq!(base.config.env, from_layout.config.env);
        for layer in &base.layers {
            assert_eq!(layer.entry.descriptor.media_type, MediaType::ImageLayerGzip, "{transport}");
            assert_eq!(Digest::of(&fs::read(&layer.path).unwrap()), layer.entry.descriptor.digest);
        }
        // What has the compressed bytes keeps them.
        assert_eq!(base.layers == from_layout.layers, transport != "docker-archive", "{transport}");
        let again = fixture.resolve(&reference, Amd64).unwrap();
        assert_eq!(again.layers, base.layers);
        let error = fixture.resolve(&reference, Arm64).unwrap_err();
        assert!(error.contains("not there for linux/arm64; it is there for linux/amd64"), "{error}");
    }
    let error = fixture.resolve("docker-archive:/nowhere.tar", Amd64).unwrap_err();
    assert!(error.contains("skopeo failed") && error.contains("/nowhere.tar"), "{error}");
    fixture.assert_nothing_is_left();
}

#[test]
fn the_storage_of_podman() {
    if !have("skopeo") {
        return;
    }
    let fixture = Fixture::new();
    let image = fixture.image(OCI, "linux/amd64", &[layer("a")]);
    fixture.names(&[(&image, None)]);
    // A storage of its own; vfs needs neither root nor mounts.
    let [root, run] = ["root", "run"].map(|name| fixture.path().join(name).display().to_string());
    let reference = format!("containers-storage:[vfs@{root}+{run}]localhost/pixi-oci-test:v1");
    let copied = skopeo(&["copy", "--quiet", &fixture.layout(""), &reference]);
    if !need(&format!("skopeo with a containers-storage: {copied:?}"), From::Machine, copied.is_ok()) {
        return;
    }
    let base = fixture.resolve(&reference, Amd64).unwrap();
    assert_eq!(base.layers[0].entry.diff_id.0, Digest::of(&layer("a").1));
    assert_eq!(Digest::of(&fs::read(&base.layers[0].path).unwrap()), base.layers[0].entry.descriptor.digest);
}

#[test]
fn without_skopeo_the_error_says_what_to_install() {
    let fixture = Fixture::new();
    let options = BaseOptions {
        cache: &fixture.cache(),
        offline: false,
        compression: Compression::default(),
        registries: &Default::default(),
        skopeo: &fixture.path().join("no-skopeo"),
        events: &pixi_oci_registry::no_events(),
    };
    let base = BaseRef::parse("docker-archive:x.tar").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(resolve_base(&base, Amd64, &options)).unwrap_err();
    assert!(super::fixture::chain(&error).contains("apt install skopeo"));
    assert!(runtime.block_on(resolve_base(&BaseRef::Scratch, Amd64, &options)).unwrap().is_none());
}
