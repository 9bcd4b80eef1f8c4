//! Images as other people's programs write them.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression as Level, write::GzEncoder};
use pixi_oci_cachedir::Root;
use pixi_oci_image::Architecture;
use pixi_oci_layer::{Compression, Digest};
use pixi_oci_registry::RegistryAccess;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::base::{BaseError, BaseImage, BaseOptions, BaseRef, resolve_base};

pub(super) const OCI: [&str; 3] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
];
pub(super) const DOCKER: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What is put into a tar.
pub(super) enum Put<'a> {
    Dir(&'a str),
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}
pub(super) use Put::{Dir, File, HardLink, Link};

/// A tar with GNU headers. Paths are written as they are: tar's own builder would refuse the hostile ones.
pub(super) fn tar(entries: &[Put<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let (kind, path, target, content) = match entry {
            Dir(path) => (tar::EntryType::Directory, path, "", &[][..]),
            File(path, content) => (tar::EntryType::Regular, path, "", *content),
            Link(path, target) => (tar::EntryType::Symlink, path, *target, &[][..]),
            HardLink(path, target) => (tar::EntryType::Link, path, *target, &[][..]),
        };
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        if path.len() > 100 {
            builder.append_data(&mut header, path, content).unwrap();
            continue;
        }
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layout that is written by hand, so that it can be wrong, and a cache.
pub(super) struct Fixture {
    dir: TempDir,
    pub(super) offline: bool,
    pub(super) registries: RegistryAccess,
    pub(super) skopeo: PathBuf,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("layout/blobs/sha256")).unwrap();
        fs::write(dir.path().join("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir, offline: false, registries: RegistryAccess::default(), skopeo: "skopeo".into() }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn cache(&self) -> Root {
        Root::new(self.dir.path().join("cache"))
    }

    /// Of files and directories in the making.
    pub(super) fn assert_nothing_is_left(&self) {
        for entry in fs::read_dir(self.store()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_str().unwrap().starts_with('.'), "{name:?} is left");
        }
    }

    /// Where the store keeps what it keeps.
    pub(super) fn store(&self) -> PathBuf {
        self.cache().join("base/2")
    }

    pub(super) fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir.path().join("layout/blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }

    /// Stores bytes and returns their descriptor.
    pub(super) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes).to_string();
        fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub(super) fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// An image of layers that are given as (blob, tar); its descriptor.
    pub(super) fn image(&self, types: [&str; 3], platform: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| Digest::of(tar).to_string()).collect();
        let blobs: Vec<_> = layers.iter().map(|(blob, _)| self.blob(types[2], blob)).collect();
        self.image_of(types, platform, &blobs, &diff_ids)
    }

    pub(super) fn image_of(&self, types: [&str; 3], platform: &str, layers: &[Value], diff_ids: &[String]) -> Value {
        let mut config = platform_of(platform);
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        config["history"] = json!([{"created_by": "somebody"}]);
        config["config"] =
            json!({"Env": ["PATH=/usr/bin", "LANG=C"], "Cmd": ["bash"], "User": "", "Entrypoint": ["/init"]});
        let config = self.document(types[1], &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": types[0], "config": config, "layers": layers});
        self.document(types[0], &manifest)
    }

    /// An index of entries and platforms; its descriptor. An empty platform is not written.
    pub(super) fn index(&self, entries: &[(&Value, &str)]) -> Value {
        self.document(OCI_INDEX, &index_document(entries))
    }

    /// Writes `index.json` with names.
    pub(super) fn names(&self, entries: &[(&Value, Option<&str>)]) {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(entry, name)| {
                let mut entry = (*entry).clone();
                if let Some(name) = name {
                    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
                }
                entry
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": entries});
        fs::write(self.dir.path().join("layout/index.json"), index.to_string()).unwrap();
    }

    /// `oci:` of the layout, with what may follow.
    pub(super) fn layout(&self, rest: &str) -> String {
        format!("oci:{}{rest}", self.dir.path().join("layout").display())
    }

    pub(super) fn resolve(&self, reference: &str, architecture: Architecture) -> Result<BaseImage, String> {
        self.resolve_with(reference, architecture, Compression::default())
    }

    pub(super) fn resolve_with(
        &self,
        reference: &str,
        architecture: Architecture,
        compression: Compression,
    ) -> Result<BaseImage, String> {
        let options = BaseOptions {
            cache: &self.cache(),
            offline: self.offline,
            compression,
            registries: &self.registries,
            skopeo: &self.skopeo,
            events: &pixi_oci_registry::no_events(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let base = BaseRef::parse(reference).unwrap();
        let image = runtime.block_on(resolve_base(&base, architecture, &options)).map_err(|error| chain(&error))?;
        Ok(image.unwrap())
    }
}

pub(super) fn index_document(entries: &[(&Value, &str)]) -> Value {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(entry, platform)| {
            let mut entry = (*entry).clone();
            if !platform.is_empty() {
                entry["platform"] = platform_of(platform);
            }
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
}

fn platform_of(text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [os, architecture] => json!({"os": os, "architecture": architecture}),
        [os, architecture, variant] => json!({"os": os, "architecture": architecture, "variant": variant}),
        _ => panic!("{text}"),
    }
}

/// An error with its causes, as a user sees it.
pub(super) fn chain(error: &BaseError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A layer of one file, as (blob, tar).
pub(super) fn layer(path: &str) -> (Vec<u8>, Vec<u8>) {
    let tar = tar(&[File(path, path.as_bytes())]);
    (gzip(&tar), tar)
}

pub(super) fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// Whether a program of Debian's is there.
pub(super) fn have(program: &str) -> bool {
    pixi_oci_test_need::program(program, pixi_oci_test_need::From::Debian)
}
