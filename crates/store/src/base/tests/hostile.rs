//! Images that are damaged, or made to do harm.

use std::fs;

use pixi_oci_image::Architecture::Amd64;
use pixi_oci_layer::Digest;
use serde_json::{Value, json};

use super::fixture::{Dir, File, Fixture, HardLink, Link, OCI, digest, gzip, layer, tar};
use crate::base::BaseFiles;

/// What happens with an image of one layer of these bytes, whose tar is said to be `tar`.
fn with_layer(blob: &[u8], tar: &[u8]) -> Result<crate::base::BaseImage, String> {
    let fixture = Fixture::new();
    let image = fixture.image(OCI, "linux/amd64", &[(blob.to_vec(), tar.to_vec())]);
    fixture.names(&[(&image, None)]);
    let result = fixture.resolve(&fixture.layout(""), Amd64);
    if result.is_err() {
        // Nothing that failed may be there for the next build.
        assert!(!fixture.store().join("listings").exists());
    }
    result
}

#[test]
fn a_layer_that_is_not_that_of_the_configuration() {
    let (blob, _) = layer("a");
    let error = with_layer(&blob, &layer("b").1).unwrap_err();
    assert!(error.contains("unpacks to sha256:") && error.contains(&Digest::of(&layer("a").1).to_string()), "{error}");
    // The second member of a gzip file counts too.
    let double = [gzip(&layer("a").1), gzip(b"more")].concat();
    assert!(with_layer(&double, &layer("a").1).unwrap_err().contains("unpacks to"));
    with_layer(&double, &[&layer("a").1[..], b"more"].concat()).unwrap();
}

#[test]
fn a_layer_that_cannot_be_read() {
    let tar_of = |entries: &[_]| tar(entries);
    let (blob, whole) = layer("a");
    for (blob, tar, why) in [
        (blob[..blob.len() - 9].to_vec(), whole.clone(), "cannot be read as a layer"),
        (b"not a tar, and longer than the 512 bytes of a header".repeat(20), vec![], "not a tar"),
        (whole[..700].to_vec(), whole[..700].to_vec(), "ends inside"),
        (b"\x1f\x8b".to_vec(), vec![], "cannot be read as a layer"),
        (b"\x28\xb5\x2f\xfd".to_vec(), vec![], "cannot be read as a layer"),
    ] {
        let error = with_layer(&blob, &tar).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    for (tar, why) in [
        (tar_of(&[File("../etc/passwd", b"")]), "../etc/passwd"),
        (tar_of(&[File("a/../../b", b"")]), "a/../../b"),
        (tar_of(&[HardLink("a", "../b")]), "../b"),
        (
            tar_of(&[File("a", b"")]).iter().enumerate().map(|(i, b)| if i == 0 { b'b' } else { *b }).collect(),
            "checksum",
        ),
    ] {
        let error = with_layer(&gzip(&tar), &tar).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn names_without_end_do_not_fill_the_memory() {
    // A long name of 1 GiB, of which the bytes never come.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let bomb = [header.as_bytes(), &[b'a'; 512][..]].concat();
    let error = with_layer(&gzip(&bomb), &bomb).unwrap_err();
    assert!(error.contains("a path of 1073741823 bytes; at most 4096"), "{error}");
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::MAX);
    header.set_cksum();
    let bomb = header.as_bytes().to_vec();
    assert!(with_layer(&gzip(&bomb), &bomb).unwrap_err().contains("too large"));
}

#[test]
fn links_in_a_circle() {
    let tar = tar(&[Link("a", "b"), Link("b", "a"), File("a/file", b""), Dir("c")]);
    let fixture = Fixture::new();
    let image = fixture.image(OCI, "linux/amd64", &[(gzip(&tar), tar)]);
    fixture.names(&[(&image, None)]);
    let base = fixture.resolve(&fixture.layout(""), Amd64).unwrap();
    let error = BaseFiles::read(&base, &fixture.cache()).unwrap_err();
    assert!(super::fixture::chain(&error).contains("circle"), "{error}");
}

#[test]
fn blobs_that_are_not_what_their_names_say() {
    let change = |which: fn(&Fixture, &Value) -> String, change: fn(&mut Vec<u8>)| {
        let fixture = Fixture::new();
        let image = fixture.image(OCI, "linux/amd64", &[layer("a")]);
        fixture.names(&[(&image, None)]);
        let path = fixture.blob_path(&which(&fixture, &image));
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        fixture.resolve(&fixture.layout(""), Amd64).unwrap_err()
    };
    let manifest: fn(&Fixture, &Value) -> String = |_, image| digest(image).to_owned();
    fn named(fixture: &Fixture, image: &Value) -> Value {
        serde_json::from_slice(&fs::read(fixture.blob_path(digest(image))).unwrap()).unwrap()
    }
    let config: fn(&Fixture, &Value) -> String = |fixture, image| digest(&named(fixture, image)["config"]).to_owned();
    let layer: fn(&Fixture, &Value) -> String = |fixture, image| digest(&named(fixture, image)["layers"][0]).to_owned();
    for which in [manifest, config, layer] {
        assert!(change(which, |bytes| bytes[3] ^= 1).contains("but it is sha256:"));
        assert!(change(which, |bytes| bytes.push(b' ')).contains("but it"));
        assert!(change(which, |bytes| bytes.truncate(1)).contains("but it has 1 bytes"));
    }
}

#[test]
fn descriptors_that_lead_astray() {
    let fixture = Fixture::new();
    let (blob, tar) = layer("a");
    let diff_id = Digest::of(&tar).to_string();
    let good = fixture.blob(OCI[2], &blob);
    let with = |key: &str, value: Value| {
        let mut descriptor = good.clone();
        descriptor[key] = value;
        let image = fixture.image_of(OCI, "linux/amd64", &[descriptor], std::slice::from_ref(&diff_id));
        fixture.names(&[(&image, None)]);
        fixture.resolve(&fixture.layout(""), Amd64)
    };
    assert!(with("digest", json!("sha256:../../../../etc/passwd")).unwrap_err().contains("not a digest"));
    assert!(with("digest", json!(format!("sha512:{}", "0".repeat(128)))).unwrap_err().contains("not a digest"));
    assert!(with("size", json!(1)).unwrap_err().contains("but it is longer"));
    assert!(with("size", json!(-1)).unwrap_err().contains("-1"));
    assert!(
        with("mediaType", json!("application/vnd.oci.image.layer.v1.tar+encrypted"))
            .unwrap_err()
            .contains("unknown type")
    );
    let urls = with("urls", json!(["https://example.org/evil"])).unwrap();
    assert_eq!(urls.layers[0].entry.descriptor.digest.to_string(), digest(&good));

    let mut huge = fixture.image(OCI, "linux/amd64", &[]);
    huge["size"] = json!(1_u64 << 40);
    fixture.names(&[(&huge, None)]);
    assert!(fixture.resolve(&fixture.layout(""), Amd64).unwrap_err().contains("larger than"));
    // Indexes that name one another for ever cannot be made; a long chain can.
    let mut chain = fixture.index(&[]);
    for _ in 0..40 {
        chain = fixture.index(&[(&chain, "")]);
    }
    fixture.names(&[(&chain, None)]);
    assert!(fixture.resolve(&fixture.layout(""), Amd64).unwrap_err().contains("no machine"));
}

#[test]
fn a_damaged_cache_is_repaired() {
    let fixture = Fixture::new();
    let image = fixture.image(OCI, "linux/amd64", &[layer("a")]);
    fixture.names(&[(&image, None)]);
    let base = fixture.resolve(&fixture.layout(""), Amd64).unwrap();
    let layer = &base.layers[0];
    fs::write(&layer.path, "short").unwrap();
    let hex = layer.entry.descriptor.digest.hex();
    fs::write(fixture.store().join(format!("listings/{}/{hex}.json", &hex[..2])), "{").unwrap();
    let again = fixture.resolve(&fixture.layout(""), Amd64).unwrap();
    assert_eq!(again.layers, base.layers);
    assert_eq!(Digest::of(&fs::read(&layer.path).unwrap()), layer.entry.descriptor.digest);
    // What a killed process left.
    fs::write(fixture.store().join(".new-dead"), "x").unwrap();
    fs::create_dir(fixture.store().join(".new-directory")).unwrap();
    fixture.resolve(&fixture.layout(""), Amd64).unwrap();
    fixture.assert_nothing_is_left();
}
