//! skopeo's image proxy, as a program that speaks its protocol well or badly.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use pixi_oci_image::Architecture::Amd64;
use pixi_oci_layer::Digest;
use serde_json::{Value, json};

use super::fixture::{DOCKER, Fixture, OCI, digest, have, layer};
use crate::base::BaseImage;

/// An image of two layers that a fake skopeo reads.
struct Fake {
    fixture: Fixture,
    manifest: String,
    dir: PathBuf,
}

impl Fake {
    fn new(types: [&str; 3]) -> Self {
        let mut fixture = Fixture::new();
        let image = fixture.image(types, "linux/amd64", &[layer("a"), layer("b")]);
        fixture.names(&[(&image, None)]);
        let dir = fixture.path().join("bin");
        fs::create_dir(&dir).unwrap();
        let program = dir.join("skopeo");
        fs::write(&program, include_str!("fake_skopeo.py")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fixture.skopeo = program;
        Self { fixture, manifest: digest(&image).to_owned(), dir }
    }

    /// What is asked of the fake from here on.
    fn tell(&self, version: &str, fault: &str, more: Value) {
        let mut told = json!({"layout": self.fixture.path().join("layout"), "manifest": self.manifest, "version": version,
            "fault": fault});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(self.dir.join("fake.json"), told.to_string()).unwrap();
        let _ = fs::remove_file(self.dir.join("fake.log"));
    }

    fn resolve(&self, transport: &str) -> Result<BaseImage, String> {
        self.fixture.resolve(&format!("{transport}:localhost/base"), Amd64)
    }

    /// What it was asked for, without how much it sent.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join("fake.log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn layers(image: &BaseImage) -> Vec<&pixi_oci_image::LayerEntry> {
    image.layers.iter().map(|layer| &layer.entry).collect()
}

#[test]
fn the_proxy_gives_what_a_copy_gives_and_only_once() {
    if !have("python3") {
        return;
    }
    for (types, more, transport) in [
        (OCI, json!({}), "oci-archive"),
        (DOCKER, json!({"docker": true}), "docker-archive"),
        (OCI, json!({"unpacked": true}), "containers-storage"),
        (DOCKER, json!({"docker": true, "unpacked": true}), "containers-storage"),
    ] {
        // Debian 12's.
        let old = Fake::new(types);
        old.tell("0.2.3", "", more.clone());
        let copied = old.resolve(transport).unwrap();
        assert_eq!(old.asked().iter().filter(|asked| *asked == "copy").count(), 1, "{transport}");
        assert_eq!(copied.digest.to_string(), old.manifest, "{transport}: the digest of the image itself");
        let none = Fake::new(types);
        none.tell("", "no proxy", more.clone());
        assert_eq!(layers(&none.resolve(transport).unwrap()), layers(&copied), "{transport}");

        for version in ["0.2.5", "0.2.6", "0.2.7", "0.2.8"] {
            let fake = Fake::new(types);
            fake.tell(version, "", more.clone());
            let image = fake.resolve(transport).unwrap();
            let asked = fake.asked();
            assert!(!asked.contains(&"copy".to_owned()), "{version}: {asked:?}");
            assert_eq!(asked.iter().filter(|asked| *asked == "layer").count(), 2, "{version}: {asked:?}");
            // Docker's manifest is read as it is; the proxy would give another.
            assert_eq!(asked.contains(&"inspect".to_owned()), types == DOCKER, "{version}: {asked:?}");
            assert_eq!((image.digest, image.index_digest), (copied.digest, None), "{transport} {version}");
            assert_eq!(layers(&image), layers(&copied), "{transport} {version}");
            assert_eq!(image.config.env, copied.config.env);
            for layer in &image.layers {
                assert_eq!(Digest::of(&fs::read(&layer.path).unwrap()), layer.entry.descriptor.digest);
            }
            fake.tell(version, "", more.clone());
            assert_eq!(layers(&fake.resolve(transport).unwrap()), layers(&image));
            assert_eq!(fake.asked(), ["config"], "{transport} {version}: the second time, no layer is read");
            fake.fixture.assert_nothing_is_left();
        }
    }
}

#[test]
fn a_proxy_that_misbehaves_is_an_error_in_time() {
    if !have("python3") {
        return;
    }
    for version in ["0.2.6", "0.2.8"] {
        for (fault, said) in [
            ("policy", "this machine's policy for images refuses it: Running image"),
            ("dies at OpenImage", "skopeo cannot give the image: "),
            ("dies at GetManifest", "skopeo cannot give its manifest: "),
            ("hangs at Initialize", "did not answer within 3 seconds"),
            ("hangs at OpenImage", "cannot give the image: it did not answer within 3 seconds"),
            ("hangs at GetManifest", "cannot give its manifest: it did not answer"),
            ("one layer less", "it has 2 layers, but skopeo finds 1"),
            ("short", "bytes"),
            ("long", "it is longer"),
            ("endless", "it is longer"),
            ("wrong", "it is sha256:"),
            ("slow", "it sends too little in 0 seconds"),
        ] {
            let mut fake = Fake::new(OCI);
            let waits = fault.starts_with("hangs") || fault == "slow";
            if waits {
                fake.fixture.registries.options.progress_timeout = Duration::from_millis(300);
            }
            fake.tell(version, fault, json!({}));
            let began = Instant::now();
            let error = fake.resolve("oci-archive").unwrap_err();
            assert!(
                error.contains(said) || (version == "0.2.8" && error.contains("mismatch")),
                "{version} {fault}: {error}"
            );
            assert!(began.elapsed() < Duration::from_secs(20), "{version} {fault}: {:?}", began.elapsed());
            fake.fixture.assert_nothing_is_left();
            // What it sent is nowhere.
            fake.fixture.registries.options.progress_timeout = Duration::from_secs(60);
            fake.tell(version, "", json!({}));
            fake.resolve("oci-archive").unwrap();
        }
    }
}

#[test]
fn a_manifest_that_the_proxy_cannot_give_is_copied() {
    if !have("python3") {
        return;
    }
    let fake = Fake::new(DOCKER);
    // An index in an archive: what `inspect` prints is not the image.
    fake.tell("0.2.6", "other manifest", json!({"docker": true}));
    let image = fake.resolve("oci-archive").unwrap();
    assert_eq!(image.digest.to_string(), fake.manifest);
    assert_eq!(fake.asked()[..2], ["inspect", "copy"]);
}
