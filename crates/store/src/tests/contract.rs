//! What every destination promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::Path,
};

use pixi_oci_image::{Architecture, Descriptor};
use pixi_oci_layer::Digest;
use serde_json::Value;

use super::{
    fixture::{Fixture, fixture},
    memory::{Memory, State},
};
use crate::{
    BlobSource, Destination, Error, OciLayout, docker_archive::docker_archive, oci_archive::oci_archive, publish,
};

/// What a stranger sees: the names, and all bytes that they lead to or that lie there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    names: BTreeSet<Option<String>>,
    blobs: BTreeSet<Digest>,
}

type Look = Box<dyn Fn() -> Seen>;

/// A destination and a way to look at it from outside.
struct Subject {
    kind: &'static str,
    destination: Box<dyn Destination>,
    look: Look,
    dir: tempfile::TempDir,
}

fn subjects() -> [Subject; 4] {
    let subject = |kind, make: fn(&Path) -> (Box<dyn Destination>, Look)| {
        let dir = tempfile::tempdir().unwrap();
        let (destination, look) = make(&dir.path().join("target"));
        Subject { kind, destination, look, dir }
    };
    [
        subject("oci", |path| {
            let (layout, path) = (OciLayout::open(path).unwrap(), path.to_owned());
            (Box::new(layout), Box::new(move || look_layout(&read_dir(&path))))
        }),
        subject("oci-archive", |path| {
            let (archive, path) = (oci_archive(path.to_owned()), path.to_owned());
            (Box::new(archive), Box::new(move || look_layout(&read_tar(&path))))
        }),
        subject("docker-archive", |path| {
            let (archive, path) = (docker_archive(path.to_owned()), path.to_owned());
            (Box::new(archive), Box::new(move || look_docker(&read_tar(&path))))
        }),
        subject("memory", |_| {
            let memory = Memory::default();
            let state = memory.state.clone();
            (Box::new(memory), Box::new(move || look_memory(&state.lock().unwrap())))
        }),
    ]
}

fn look_memory(state: &State) -> Seen {
    if state.roots.is_empty() {
        return Seen::default();
    }
    Seen { names: state.roots.keys().cloned().collect(), blobs: state.blobs.keys().copied().collect() }
}

/// All files below a directory.
fn read_dir(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// All files of a tar; none when it is not there.
fn read_tar(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let Ok(file) = fs::File::open(path) else { return files };
    for entry in tar::Archive::new(file).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        assert!(files.last_key_value().is_none_or(|(last, _)| *last < name), "sorted");
        files.insert(name, bytes);
    }
    files
}

fn look_layout(files: &BTreeMap<String, Vec<u8>>) -> Seen {
    let Some(index) = files.get("index.json") else { return Seen::default() };
    assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: Value = serde_json::from_slice(index).unwrap();
    let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
    let blobs = files.iter().filter_map(|(path, bytes)| {
        let hex = path.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty())?;
        assert_eq!(hex, Digest::of(bytes).hex());
        Some(Digest::of(bytes))
    });
    Seen { names: index["manifests"].as_array().unwrap().iter().map(name).collect(), blobs: blobs.collect() }
}

/// A docker-archive has no manifests of the OCI: only the configuration and the layers are compared.
fn look_docker(files: &BTreeMap<String, Vec<u8>>) -> Seen {
    let Some(manifest) = files.get("manifest.json") else { return Seen::default() };
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let image = &manifest[0];
    let names: Vec<&str> = image["RepoTags"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let layers = image["Layers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let blobs = layers.chain(image["Config"].as_str()).map(|name| {
        let digest = Digest::of(&files[name]);
        assert_eq!(name.split_once('.').unwrap().0, digest.hex());
        digest
    });
    let names = if names.is_empty() {
        [None].into()
    } else {
        names.into_iter().map(|name| Some(name.trim_end_matches(":latest").to_owned())).collect()
    };
    Seen { names, blobs: blobs.collect() }
}

fn expected(kind: &str, fixture: &Fixture, names: &[Option<&str>]) -> Seen {
    let mut blobs = BTreeSet::new();
    for image in &fixture.index.images {
        blobs.extend(image.layers.iter().map(|layer| layer.descriptor.digest));
        blobs.insert(image.config.digest);
        if kind != "docker-archive" {
            blobs.extend([image.manifest.digest, fixture.index.descriptor.digest]);
        }
    }
    Seen { names: names.iter().map(|name| name.map(str::to_owned)).collect(), blobs }
}

fn one() -> Fixture {
    fixture("one", &[Architecture::Amd64])
}

#[test]
fn what_was_put_is_there_under_its_name() {
    for subject in subjects() {
        let fixture = one();
        publish(&fixture.index, &fixture.blobs, &*subject.destination, Some("v1")).unwrap();
        assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[Some("v1")]), "{}", subject.kind);

        // Nothing is written twice: no file is needed.
        publish(&fixture.index, &BTreeMap::new(), &*subject.destination, Some("v2")).unwrap();
        assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[Some("v1"), Some("v2")]), "{}", subject.kind);
    }
}

#[test]
fn an_image_needs_no_name() {
    for subject in subjects() {
        let fixture = one();
        publish(&fixture.index, &fixture.blobs, &*subject.destination, None).unwrap();
        assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[None]), "{}", subject.kind);
    }
}

#[test]
fn several_architectures_share_layers() {
    let fixture = fixture("both", &[Architecture::Arm64, Architecture::Amd64]);
    for subject in subjects() {
        let result = publish(&fixture.index, &fixture.blobs, &*subject.destination, Some("v1"));
        if subject.kind == "docker-archive" {
            assert!(matches!(result, Err(Error::OneImage { count: 2, .. })), "{result:?}");
            assert_eq!((subject.look)(), Seen::default());
            assert_eq!(fs::read_dir(subject.dir.path()).unwrap().count(), 0);
        } else {
            result.unwrap();
            assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[Some("v1")]), "{}", subject.kind);
        }
    }
}

#[test]
fn blobs_are_there_once_put() {
    for subject in subjects() {
        let bytes = b"some bytes";
        let blob = Descriptor::of(pixi_oci_image::MediaType::ImageConfig, bytes);
        assert!(!subject.destination.has_blob(&blob).unwrap());
        for _ in 0..2 {
            subject.destination.put_blob(&blob, BlobSource::Bytes(bytes)).unwrap();
            assert!(subject.destination.has_blob(&blob).unwrap());
        }
        let other_size = Descriptor { size: 9, ..blob };
        assert!(!subject.destination.has_blob(&other_size).unwrap(), "{}", subject.kind);
    }
}

#[test]
fn wrong_bytes_never_become_visible() {
    let wrongs: [fn(&mut Vec<u8>); 4] =
        [|bytes| bytes[50] ^= 1, |bytes| bytes.truncate(bytes.len() - 1), |bytes| bytes.push(0), |bytes| bytes.clear()];
    for wrong in wrongs {
        for subject in subjects() {
            let fixture = one();
            let file = fixture.blobs.values().next().unwrap();
            let mut bytes = fs::read(file).unwrap();
            wrong(&mut bytes);
            fs::write(file, bytes).unwrap();
            let error = publish(&fixture.index, &fixture.blobs, &*subject.destination, Some("v1")).unwrap_err();
            assert!(matches!(error, Error::Content { .. }), "{}: {error}", subject.kind);
            assert!(error.to_string().starts_with(file.to_str().unwrap()), "{error}");
            let seen = (subject.look)();
            assert!(seen.names.is_empty(), "{}: {seen:?}", subject.kind);
            let left = fs::read_dir(subject.dir.path()).unwrap().count();
            assert_eq!(left, usize::from(subject.kind == "oci"), "{}: nothing half-written", subject.kind);
        }
    }
}

#[test]
fn wrong_documents_are_refused() {
    for subject in subjects() {
        let fixture = one();
        let image = &fixture.index.images[0];
        let destination = &*subject.destination;

        let error = destination.put_manifest(&image.manifest, &image.manifest_bytes).unwrap_err();
        assert!(matches!(error, Error::MissingBlob { .. }), "{}: blobs first: {error}", subject.kind);
        let error = destination.put_root(&fixture.index.descriptor, &fixture.index.bytes, Some("v1")).unwrap_err();
        assert!(matches!(error, Error::MissingBlob { .. }), "{}: manifests first: {error}", subject.kind);

        publish(&fixture.index, &fixture.blobs, destination, Some("v1")).unwrap();
        let mut other = image.manifest_bytes.clone();
        other.push(b' ');
        let error = destination.put_manifest(&image.manifest, &other).unwrap_err();
        assert!(matches!(error, Error::Content { .. }), "{}: {error}", subject.kind);

        let both = br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#;
        let both_kinds = Descriptor::of(pixi_oci_image::MediaType::ImageIndex, both);
        let error = destination.put_root(&both_kinds, both, Some("v1")).unwrap_err();
        assert!(error.to_string().contains("both `manifests` and `layers`"), "{}: {error}", subject.kind);
        assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[Some("v1")]), "{}", subject.kind);
    }
}

#[test]
fn a_layer_from_nowhere_is_an_error() {
    for subject in subjects() {
        let error = publish(&one().index, &BTreeMap::new(), &*subject.destination, None).unwrap_err();
        assert!(matches!(error, Error::NoSource { .. }), "{}: {error}", subject.kind);
    }
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let fixture = one();
    let image = &fixture.index.images[0];
    let in_order = subjects();
    let reversed = subjects();
    for (a, b) in in_order.iter().zip(&reversed).take(3) {
        publish(&fixture.index, &fixture.blobs, &*a.destination, Some("v1")).unwrap();
        b.destination.put_blob(&image.config, BlobSource::Bytes(&image.config_bytes)).unwrap();
        for layer in image.layers.iter().rev() {
            let file = &fixture.blobs[&layer.descriptor.digest];
            b.destination.put_blob(&layer.descriptor, BlobSource::File(file)).unwrap();
        }
        publish(&fixture.index, &BTreeMap::new(), &*b.destination, Some("v1")).unwrap();
        assert_eq!(read_dir(a.dir.path()), read_dir(b.dir.path()), "{}", a.kind);
    }
}

#[test]
fn an_archive_does_not_need_its_sources_to_stay() {
    for subject in subjects() {
        let fixture = one();
        let image = &fixture.index.images[0];
        for layer in &image.layers {
            let file = &fixture.blobs[&layer.descriptor.digest];
            subject.destination.put_blob(&layer.descriptor, BlobSource::File(file)).unwrap();
            fs::remove_file(file).unwrap();
        }
        publish(&fixture.index, &BTreeMap::new(), &*subject.destination, Some("v1")).unwrap();
        assert_eq!((subject.look)(), expected(subject.kind, &fixture, &[Some("v1")]), "{}", subject.kind);
    }
}
