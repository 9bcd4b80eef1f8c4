//! Images in OCI layouts.

use pixi_oci_test_need::{From, need};
use std::fs;

use pixi_oci_image::{
    Architecture::{Amd64, Arm64},
    MediaType,
};
use pixi_oci_layer::{Compression, Digest};
use serde_json::json;

use super::fixture::{DOCKER, Dir, File, Fixture, Link, OCI, digest, gzip, layer, tar};
use crate::base::{BaseEntry, BaseFiles};

#[test]
fn an_image_is_taken_over_with_its_layers_unchanged() {
    for types in [OCI, DOCKER] {
        let fixture = Fixture::new();
        let plain = tar(&[Dir("etc"), File("etc/os-release", b"ID=test\n")]);
        let zstd = tar(&[File("etc/zstd", b"z")]);
        let layers =
            [layer("etc/gzip"), (zstd::encode_all(&zstd[..], 3).unwrap(), zstd), (plain.clone(), plain.clone())];
        let image = fixture.image(types, "linux/amd64", &layers);
        fixture.names(&[(&image, None)]);

        let base = fixture.resolve(&fixture.layout(""), Amd64).unwrap();
        assert_eq!(base.digest.to_string(), digest(&image));
        assert_eq!((base.index_digest, &base.variant), (None, &None));
        assert_eq!(base.config.env, [("PATH".into(), "/usr/bin".into()), ("LANG".into(), "C".into())]);
        assert_eq!(base.config.cmd, Some(vec!["bash".into()]));
        assert_eq!((&base.config.user, base.history.len()), (&None, 1));
        let seen: Vec<_> = base.layers.iter().map(|layer| &layer.entry.descriptor.media_type).collect();
        assert_eq!(seen, [&MediaType::ImageLayerGzip, &MediaType::ImageLayerZstd, &MediaType::ImageLayerGzip]);
        for (layer, (blob, tar)) in base.layers.iter().zip(&layers) {
            let bytes = fs::read(&layer.path).unwrap();
            let descriptor = &layer.entry.descriptor;
            assert_eq!((descriptor.digest, descriptor.size), (Digest::of(&bytes), bytes.len() as u64));
            assert_eq!(layer.entry.diff_id.0, Digest::of(tar));
            if blob != tar {
                assert_eq!(&bytes, blob);
            }
        }
    }
}

#[test]
fn plain_tars_are_compressed_deterministically_and_once() {
    let plain = tar(&[File("data", &[7; 3 << 20])]);
    let digest_in = |fixture: &Fixture, compression| {
        let image = fixture.image(OCI, "linux/amd64", &[(plain.clone(), plain.clone())]);
        fixture.names(&[(&image, None)]);
        let base = fixture.resolve_with(&fixture.layout(""), Amd64, compression).unwrap();
        base.layers[0].entry.descriptor.digest
    };
    let [a, b] = [(); 2].map(|()| Fixture::new());
    let gzip = digest_in(&a, Compression::default());
    assert_eq!(gzip, digest_in(&b, Compression::default()));
    assert_ne!(gzip, digest_in(&a, Compression::Zstd { level: 3 }));
    // The second time nothing is read: the layout has lost its layer.
    let image = a.image(OCI, "linux/amd64", &[(plain.clone(), plain.clone())]);
    a.names(&[(&image, None)]);
    fs::remove_file(a.blob_path(&Digest::of(&plain).to_string())).unwrap();
    let base = a.resolve(&a.layout(""), Amd64).unwrap();
    assert_eq!(base.layers[0].entry.descriptor.digest, gzip);
}

#[test]
fn the_image_of_the_architecture_is_chosen_in_nested_indexes() {
    let fixture = Fixture::new();
    let image = |platform| fixture.image(OCI, platform, &[layer(platform)]);
    let (amd64, arm64, v3) = (image("linux/amd64"), image("linux/arm64/v8"), image("linux/amd64/v3"));
    let windows = image("windows/amd64");
    let attestation = fixture.image(OCI, "unknown/unknown", &[]);
    let inner = fixture.index(&[(&arm64, "linux/arm64/v8"), (&attestation, "unknown/unknown")]);
    let artifact = fixture.blob("application/vnd.example+json", b"{}");
    let index = fixture.index(&[
        (&artifact, ""),
        (&windows, "windows/amd64"),
        (&v3, "linux/amd64/v3"),
        (&inner, ""),
        (&amd64, "linux/amd64"),
    ]);
    fixture.names(&[(&index, Some("all")), (&inner, Some("inner")), (&v3, Some("v3"))]);

    let base = fixture.resolve(&fixture.layout(":all"), Amd64).unwrap();
    assert_eq!(base.digest.to_string(), digest(&amd64), "the variant that all machines have");
    assert_eq!(base.index_digest.unwrap().to_string(), digest(&index));
    let base = fixture.resolve(&fixture.layout(":all"), Arm64).unwrap();
    assert_eq!(base.digest.to_string(), digest(&arm64));
    assert_eq!(base.index_digest.unwrap().to_string(), digest(&index), "the outermost");
    assert_eq!(base.variant.as_deref(), Some("v8"));
    let base = fixture.resolve(&fixture.layout(":v3"), Amd64).unwrap();
    assert_eq!(base.variant.as_deref(), Some("v3"));

    let error = fixture.resolve(&fixture.layout(":inner"), Amd64).unwrap_err();
    assert!(error.ends_with("not there for linux/amd64; it is there for linux/arm64/v8"), "{error}");
    // The index does not say what the image is for; its configuration does.
    let silent = fixture.index(&[(&v3, ""), (&windows, "")]);
    fixture.names(&[(&silent, None)]);
    let error = fixture.resolve(&fixture.layout(""), Arm64).unwrap_err();
    assert!(error.contains("it is there for linux/amd64/v3, windows/amd64"), "{error}");
    assert_eq!(fixture.resolve(&fixture.layout(""), Amd64).unwrap().digest.to_string(), digest(&v3));
}

#[test]
fn names_of_a_layout() {
    let fixture = Fixture::new();
    let [a, b] = ["a", "b"].map(|path| fixture.image(OCI, "linux/amd64", &[layer(path)]));
    fixture.names(&[(&a, Some("v1")), (&b, None)]);
    assert_eq!(fixture.resolve(&fixture.layout(":v1"), Amd64).unwrap().digest.to_string(), digest(&a));
    for missing in ["", ":v2"] {
        let error = fixture.resolve(&fixture.layout(missing), Amd64).unwrap_err();
        assert!(error.ends_with("it has one without a name, v1"), "{error}");
    }
    let pinned = fixture.resolve(&fixture.layout(&format!("@{}", digest(&b))), Amd64).unwrap();
    assert_eq!(pinned.digest.to_string(), digest(&b));
    assert!(pinned.reference.ends_with(digest(&b)), "{}", pinned.reference);
    // Tools that know no nested index put one entry for each platform into index.json, all under one name.
    let mut arm64 = fixture.image(OCI, "linux/arm64", &[layer("arm64")]);
    arm64["platform"] = json!({"os": "linux", "architecture": "arm64"});
    fixture.names(&[(&a, Some("v1")), (&arm64, Some("v1"))]);
    for rest in ["", ":v1"] {
        assert_eq!(fixture.resolve(&fixture.layout(rest), Arm64).unwrap().digest.to_string(), digest(&arm64));
        assert_eq!(fixture.resolve(&fixture.layout(rest), Amd64).unwrap().digest.to_string(), digest(&a));
    }
    fixture.names(&[]);
    assert!(fixture.resolve(&fixture.layout(""), Amd64).unwrap_err().ends_with("it has none"));
    let error = fixture.resolve("oci:/nowhere", Amd64).unwrap_err();
    assert!(error.contains("cannot read /nowhere/oci-layout"), "{error}");
}

#[test]
fn the_files_of_all_layers() {
    let fixture = Fixture::new();
    let libc = fs::read("/lib/x86_64-linux-gnu/libc.so.6").ok();
    let long = format!("usr/share/{}/file", "long".repeat(40));
    let lower = tar(&[
        Dir("./"),
        Dir("./usr/"),
        Dir("usr/bin"),
        File("usr/bin/dash", b"#!"),
        Link("usr/bin/sh", "dash"),
        Link("bin", "usr/bin"),
        Link("lib", "usr/lib"),
        File("/usr/lib/x86_64-linux-gnu/libc.so.6", libc.as_deref().unwrap_or_default()),
        File("opt/old/file", b""),
        File("srv/gone", b""),
        File(&long, b""),
    ]);
    let upper = tar(&[
        File("opt/.wh..wh..opq", b""),
        File("opt/new", b""),
        File("srv/.wh.gone", b""),
        File("usr/.wh..wh.aufs", b""),
        File("bin/bash", b"#!"),
    ]);
    let layers = [(gzip(&lower), lower), (zstd::encode_all(&upper[..], 1).unwrap(), upper)];
    let image = fixture.image(OCI, "linux/amd64", &layers);
    fixture.names(&[(&image, None)]);
    let base = fixture.resolve(&fixture.layout(""), Amd64).unwrap();

    let check = |files: &BaseFiles| {
        assert_eq!(files.resolve("/bin/sh"), Some(("/usr/bin/dash".into(), BaseEntry::File)));
        assert_eq!(files.resolve("/bin/bash"), Some(("/usr/bin/bash".into(), BaseEntry::File)));
        assert_eq!(files.lookup("/opt"), Some(BaseEntry::Directory));
        assert_eq!(files.lookup("/opt/new"), Some(BaseEntry::File));
        for hidden in ["/opt/old", "/opt/old/file", "/srv/gone", "/srv/.wh.gone", "/usr/.wh..wh.aufs"] {
            assert_eq!(files.lookup(hidden), None, "{hidden}");
        }
        assert_eq!(files.lookup(&format!("/{long}")), Some(BaseEntry::File));
        if need("/lib/x86_64-linux-gnu/libc.so.6", From::Machine, libc.is_some()) {
            assert!(files.glibc().is_some_and(|version| version > (2, 17)));
        }
    };
    check(&BaseFiles::read(&base, &fixture.cache()).unwrap());
    fs::remove_dir_all(fixture.store().join("listings")).unwrap();
    check(&BaseFiles::read(&base, &fixture.cache()).unwrap());
}

#[test]
fn many_builds_may_share_a_cache() {
    let fixture = Fixture::new();
    let plain = tar(&[File("plain", &[1; 1 << 20])]);
    let layers = [layer("a"), layer("b"), layer("a"), (plain.clone(), plain)];
    let image = fixture.image(OCI, "linux/amd64", &layers);
    fixture.names(&[(&image, None)]);
    let reference = fixture.layout("");
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| fixture.resolve(&reference, Amd64).unwrap().layers)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    for layer in &all[0] {
        assert_eq!(Digest::of(&fs::read(&layer.path).unwrap()), layer.entry.descriptor.digest);
    }
    fixture.assert_nothing_is_left();
}
