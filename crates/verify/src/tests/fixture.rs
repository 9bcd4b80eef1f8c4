//! Small layouts made by hand, whole or damaged.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Error, Report, Rule, verify_layout};

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layout in a temporary directory, with the entries of its `index.json`.
pub struct Layout {
    pub dir: tempfile::TempDir,
    pub roots: Vec<Value>,
}

impl Layout {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir, roots: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        fs::write(self.path().join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
        digest
    }

    /// Stores bytes and describes them.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        json!({ "mediaType": media_type, "digest": self.blob(bytes), "size": bytes.len() })
    }

    pub fn put_json(&self, media_type: &str, value: &Value) -> Value {
        self.put(media_type, crate::layout::written::canonical(value.clone()).as_bytes())
    }

    /// An image for linux/amd64 of these tars; `change` may damage its documents first.
    pub fn image(&self, tars: &[Vec<u8>], change: impl FnOnce(&mut Value, &mut Value)) -> Value {
        let layers: Vec<_> = tars.iter().map(|tar| self.put(GZIP, &gzip(tar))).collect();
        let mut config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Env": ["PATH=/bin"], "WorkingDir": "/app", "User": "1000:1000" },
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| digest(tar)).collect::<Vec<_>>() },
            "history": tars.iter().map(|_| json!({ "created_by": "test" })).collect::<Vec<_>>(),
        });
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
        });
        change(&mut config, &mut manifest);
        manifest["config"] = self.put_json("application/vnd.oci.image.config.v1+json", &config);
        let mut descriptor = self.put_json("application/vnd.oci.image.manifest.v1+json", &manifest);
        descriptor["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        descriptor
    }

    pub fn index(&self, manifests: &[Value]) -> Value {
        let media_type = "application/vnd.oci.image.index.v1+json";
        self.put_json(media_type, &json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests }))
    }

    pub fn name(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.roots.push(descriptor);
    }

    /// Where the blob of a descriptor is.
    pub fn blob_path(&self, descriptor: &Value) -> PathBuf {
        self.path().join("blobs/sha256").join(&descriptor["digest"].as_str().unwrap()[7..])
    }

    pub fn verify(&self, tag: Option<&str>) -> Result<Report, Error> {
        let mut report = self.verify_all(tag)?;
        report.findings.retain(|finding| finding.rule != Rule::NotCompared);
        Ok(report)
    }

    /// With what is said of each image that is not compared as a whole.
    pub fn verify_all(&self, tag: Option<&str>) -> Result<Report, Error> {
        let index = json!({ "schemaVersion": 2, "manifests": self.roots });
        fs::write(self.path().join("index.json"), index.to_string()).unwrap();
        verify_layout(self.path(), tag)
    }

    /// The rules that are broken, over the whole layout.
    pub fn broken(&self) -> Vec<Rule> {
        rules(&self.verify(None).unwrap())
    }
}

/// Verifies an image of these layers, each given as a tar. All are ours.
pub fn verify_tars(tars: &[Vec<u8>]) -> Report {
    verify_on_base(0, tars)
}

/// Verifies an image of which the lowest `base` layers are the base image's.
pub fn verify_on_base(base: usize, tars: &[Vec<u8>]) -> Report {
    let mut layout = Layout::new();
    let image = layout.image(tars, |config, manifest| {
        if base > 0 {
            manifest["annotations"] = json!({ "org.opencontainers.image.base.digest": digest(b"base") });
        }
        for (number, entry) in config["history"].as_array_mut().unwrap().iter_mut().enumerate() {
            entry["created_by"] = if number < base { "/bin/sh -c #(nop) ADD" } else { "pixi-oci: a layer" }.into();
        }
        // A step without a layer must not shift the others.
        config["history"].as_array_mut().unwrap().insert(0, json!({ "created_by": "CMD", "empty_layer": true }));
    });
    layout.name(image, "latest");
    let mut report = layout.verify(None).unwrap();
    // Their files are of no package.
    let of_accounts = [Rule::Unaccounted, Rule::Changed, Rule::Removed, Rule::Inventory];
    report.findings.retain(|finding| !of_accounts.contains(&finding.rule));
    report
}

/// The rule of each error.
pub fn rules(report: &Report) -> Vec<Rule> {
    report.errors().map(|finding| finding.rule).collect()
}

/// One entry of a tar: path, type, mode, target or content.
pub type Line<'a> = (&'a str, tar::EntryType, u32, &'a str);

pub fn tar_of(lines: &[Line<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, kind, mode, text) in lines {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        let content = if kind.is_file() { *text } else { "" };
        header.set_size(content.len() as u64);
        // Set by hand: the library refuses paths that leave the root.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if !kind.is_file() {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        append(&mut out, &mut header, content.as_bytes());
    }
    out.extend([0; 1024]);
    out
}

/// Adds a header and its content in whole blocks.
pub fn append(out: &mut Vec<u8>, header: &mut tar::Header, content: &[u8]) {
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

/// Two members, as a parallel compressor writes them.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let member = |part: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    [member(first), member(second)].concat()
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
