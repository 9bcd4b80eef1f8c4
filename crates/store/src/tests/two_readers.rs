//! What we read from a registry is, byte for byte, what a client that others wrote reads.

use std::collections::BTreeMap;

use pixi_oci_registry::{RegistryAccess, RepositoryRef, no_events};
use pixi_oci_test_registry::{Fault, Kind, Lie, Profile, Registry, Rule, docker, sample, second_reader};

use crate::{OciLayout, PullError, pull};

/// Everything that we read, by digest.
fn read(reference: &str) -> Result<BTreeMap<String, Vec<u8>>, PullError> {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(&dir.path().join("layout")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reference: RepositoryRef = format!("docker://{reference}").parse().unwrap();
    runtime.block_on(pull(&reference, &RegistryAccess::default(), &layout, no_events()))?;
    let blobs = std::fs::read_dir(layout.dir().join("blobs/sha256")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()), std::fs::read(&path).unwrap())
    });
    Ok(blobs.collect())
}

#[test]
fn two_readers_get_the_same_bytes() {
    let image = sample::image(2, 3);
    let registry = Registry::start(Profile::distribution_3_1());
    let debian = docker::Docker::start(docker::Mode::Plain);
    let addresses = [Some(registry.address.clone()), debian.as_ref().map(|debian| debian.address.clone())];
    for address in addresses.into_iter().flatten() {
        sample::upload(&address, "app", &image, &["1.0.0"]);
        for reference in [format!("{address}/app:1.0.0"), format!("{address}/app@{}", image.digest())] {
            let ours = read(&reference).unwrap();
            assert_eq!(ours, second_reader::read(&reference).unwrap());
            // The index, and for each architecture its manifest, configuration and layers.
            assert_eq!(ours.len(), 1 + 2 * (1 + 1 + 3));
        }
    }
}

#[test]
fn both_refuse_what_is_not_what_its_digest_says() {
    let image = sample::image(1, 1);
    for kind in [Kind::BlobGet, Kind::ManifestGet] {
        let registry = Registry::start(Profile::plain());
        sample::upload(&registry.address, "app", &image, &["1.0.0"]);
        registry.rules([Rule::always(kind, Fault::Lie(Lie::OtherBytes))]);
        let reference = format!("{}/app@{}", registry.address, image.digest());
        assert!(read(&reference).is_err(), "{kind:?}");
        assert!(second_reader::read(&reference).is_err(), "{kind:?}");
    }
}
