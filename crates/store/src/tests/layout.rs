//! What only an OCI layout has: staging, foreign files, and the remains of the dead.

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use pixi_oci_image::{Architecture, Descriptor, MediaType};
use pixi_oci_layer::Digest;

use super::fixture::fixture;
use crate::{BlobSource, Destination, Error, OciLayout, publish};

#[test]
fn a_staged_blob_is_adopted_without_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(dir.path()).unwrap();
    let mut staged = layout.staging().unwrap();
    staged.write_all(b"layer").unwrap();
    let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let before = inode(staged.path().to_owned());
    let digest = Digest::of(b"layer");
    layout.adopt(staged, &digest, 5).unwrap();
    assert_eq!(inode(layout.blob_path(&digest)), before);
    assert!(layout.has_blob(&Descriptor::of(MediaType::ImageLayerGzip, b"layer")).unwrap());

    let mut short = layout.staging().unwrap();
    short.write_all(b"lay").unwrap();
    assert!(matches!(layout.adopt(short, &digest, 5), Err(Error::Content { .. })));
    drop(layout.staging().unwrap());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "only blobs and oci-layout: {names:?}");
}

#[test]
fn the_very_same_file_stays_where_everything_will_be_moved_to() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let other = OciLayout::open(&at("other")).unwrap();
    let layout = || OciLayout::open(&at("new")).unwrap().beside(other.dir());
    let blob = Descriptor::of(MediaType::ImageLayerGzip, b"layer");
    fs::write(at("cached"), "layer").unwrap();
    let links = || std::os::unix::fs::MetadataExt::nlink(&fs::metadata(at("cached")).unwrap());

    // A copy of it, which may be changed, is not what the caller knows; nor is a symbolic link to it.
    let there = other.blob_path(&blob.digest);
    for foreign in [&(|| fs::write(&there, "layer").unwrap()) as &dyn Fn(), &|| {
        std::os::unix::fs::symlink(at("cached"), &there).unwrap();
    }] {
        foreign();
        let layout = layout();
        assert!(layout.link(&at("cached"), &blob).unwrap() && layout.place_beside(&blob.digest).is_none());
        assert_eq!((links(), layout.blob_path(&blob.digest).starts_with(at("new"))), (2, true));
        fs::remove_file(layout.blob_path(&blob.digest)).unwrap();
        fs::remove_file(&there).unwrap();
    }

    fs::hard_link(at("cached"), &there).unwrap();
    let layout = layout();
    assert!(!layout.has_blob(&blob).unwrap(), "what is there counts only when it is linked");
    for _ in 0..2 {
        assert!(layout.link(&at("cached"), &blob).unwrap() && layout.has_blob(&blob).unwrap());
    }
    assert_eq!((links(), layout.blob_path(&blob.digest)), (2, there.clone()));
    assert_eq!(layout.place_beside(&blob.digest), Some(there.clone()));
    // Moving it is nothing to do.
    assert!(other.adopt_file(&there, &blob).unwrap() && there.exists());
    // Of another length it is not the blob.
    fs::write(at("cached"), "long layer").unwrap();
    let long = OciLayout::open(&at("new")).unwrap().beside(other.dir());
    assert!(matches!(long.link(&at("cached"), &blob), Err(Error::Content { .. })));
}

#[test]
fn files_have_ordinary_permissions() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(dir.path()).unwrap();
    let fixture = fixture("modes", &[Architecture::Amd64]);
    publish(&fixture.index, &fixture.blobs, &layout, None).unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(layout.blob_path(&fixture.index.descriptor.digest)), mode(plain.clone()));
    assert_eq!(mode(dir.path().join("index.json")), mode(plain));
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pixi.toml"), "").unwrap();
    assert!(matches!(OciLayout::open(dir.path()), Err(Error::NotALayout { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let file = dir.path().join("pixi.toml");
    assert!(matches!(OciLayout::open(&file), Err(Error::Io(_))));
}

#[test]
fn the_foreign_stays_and_the_dead_goes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    OciLayout::open(dir.path()).unwrap();
    fs::write(at("README"), "mine").unwrap();
    fs::write(at("blobs/sha256/extra"), "mine").unwrap();
    fs::write(at(".pixi-oci-dead"), "half a layer").unwrap();
    let foreign = r#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:x","size":1}],"z":0}"#;
    fs::write(at("index.json"), foreign).unwrap();
    let fixture = fixture("foreign", &[Architecture::Amd64]);
    publish(&fixture.index, &fixture.blobs, &OciLayout::open(dir.path()).unwrap(), Some("v1")).unwrap();
    assert!(!at(".pixi-oci-dead").exists());
    assert_eq!(fs::read_to_string(at("README")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(at("blobs/sha256/extra")).unwrap(), "mine");
    let index = fs::read_to_string(at("index.json")).unwrap();
    assert!(index.contains(r#"{"digest":"sha256:x","mediaType":"a/b","size":1}"#) && index.contains(r#""z":0"#));
}

#[test]
fn damage_is_healed_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = fixture("damage", &[Architecture::Amd64]);
    let layout = OciLayout::open(dir.path()).unwrap();
    publish(&fixture.index, &fixture.blobs, &layout, None).unwrap();

    let layer = &fixture.index.images[0].layers[0].descriptor;
    let path = layout.blob_path(&layer.digest);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..10]).unwrap();
    publish(&fixture.index, &fixture.blobs, &layout, None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);

    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    publish(&fixture.index, &fixture.blobs, &layout, None).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());

    // An empty marker is what a process leaves that was killed at its first step.
    fs::write(dir.path().join("oci-layout"), "").unwrap();
    OciLayout::open(dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join("oci-layout")).unwrap(), crate::oci_layout::LAYOUT_MARKER);
    for (file, text) in [("index.json", "{"), ("index.json", "[]"), ("oci-layout", r#"{"imageLayoutVersion":"2"}"#)] {
        let before = fs::read(dir.path().join(file)).unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        let result =
            OciLayout::open(dir.path()).and_then(|layout| publish(&fixture.index, &fixture.blobs, &layout, None));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Document { .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), text, "not overwritten");
        fs::write(dir.path().join(file), before).unwrap();
    }
}

#[test]
fn a_name_that_cannot_be_a_tag_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(dir.path()).unwrap();
    let fixture = fixture("name", &[Architecture::Amd64]);
    assert!(matches!(publish(&fixture.index, &fixture.blobs, &layout, Some("a\nb")), Err(Error::Name { .. })));
    assert!(!dir.path().join("index.json").exists());
}

#[test]
fn special_files_are_not_sources() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(&dir.path().join("layout")).unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let blob = Descriptor::of(MediaType::ImageLayerGzip, b"x");
    let error = layout.put_blob(&blob, BlobSource::File(&fifo)).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    std::os::unix::fs::symlink(&fifo, layout.dir().join("index.json")).unwrap();
    let fixture = fixture("fifo", &[Architecture::Amd64]);
    let error = publish(&fixture.index, &fixture.blobs, &layout, None).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}
