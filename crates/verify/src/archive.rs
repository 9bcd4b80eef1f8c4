//! Archives of images, unpacked into a layout of their own, which is then verified like any other.
//!
//! The tar comes from anybody: it is read by the strict reader; nothing is written but files whose names are made
//! here, and no more bytes than the archive has.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use fs_err::{File, OpenOptions};
use oci_read::{
    HashReader,
    document::{BASE_DIGEST, ImageConfig, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST},
    json as strict,
    limits::{ARCHIVE_FILES, DOCUMENT, LAYERS},
    tar::{self, Kind},
    unpack::Packing,
};
use pixi_oci_platform::{Links, open, read};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::layout::blob::path as blob_path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// `oci-archive:`, a layout in a tar.
    Oci,
    /// `docker-archive:`, as `docker save` writes it. It has no OCI manifest; the one that is verified is made of it.
    Docker,
}

#[derive(Debug, thiserror::Error)]
#[error("{} is no archive of images that can be verified", file.display())]
pub struct ArchiveError {
    file: PathBuf,
    source: io::Error,
}

/// Unpacks the archive in `file` into the empty directory `to`, which is an OCI layout then.
pub fn unpack_archive(kind: ArchiveKind, file: &Path, to: &Path) -> Result<(), ArchiveError> {
    let unpack = || -> io::Result<()> {
        let reader = tar::Reader::new(BufReader::with_capacity(1 << 16, open(file, Links::Follow)?));
        fs_err::create_dir_all(to.join("blobs/sha256"))?;
        match kind {
            ArchiveKind::Oci => unpack_oci(reader, to),
            ArchiveKind::Docker => unpack_docker(reader, to),
        }
    };
    unpack().map_err(|source| ArchiveError { file: file.into(), source })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn bad(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

fn unpack_oci(mut reader: tar::Reader<impl Read>, to: &Path) -> io::Result<()> {
    for number in 0.. {
        let Some(entry) = reader.next_entry()? else { break };
        if number >= ARCHIVE_FILES {
            return Err(bad("it has too many files"));
        }
        let name = std::str::from_utf8(&entry.path).unwrap_or_default();
        let blob = name.strip_prefix("blobs/sha256/").and_then(|hex| blob_path(to, &format!("sha256:{hex}")));
        let place = match name {
            "oci-layout" | "index.json" => Some(to.join(name)),
            _ => blob,
        };
        if let (Some(place), Kind::File) = (place, &entry.kind) {
            copy_content(&mut reader, &mut create(&place)?)?;
        }
    }
    Ok(())
}

/// An image in `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    layers: Vec<String>,
}

/// The files of a `docker save` archive, under names of ours.
struct Spool {
    directory: PathBuf,
    files: HashMap<Box<[u8]>, PathBuf>,
    /// Layers that several images have are links to one.
    links: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Spool {
    fn read(mut reader: tar::Reader<impl Read>, directory: PathBuf) -> io::Result<Self> {
        fs_err::create_dir(&directory)?;
        let mut spool = Self { directory, files: HashMap::new(), links: HashMap::new() };
        while let Some(entry) = reader.next_entry()? {
            let number = spool.files.len() + spool.links.len();
            if number >= ARCHIVE_FILES {
                return Err(bad("it has too many files"));
            }
            match entry.kind {
                Kind::File => {
                    let place = spool.directory.join(number.to_string());
                    copy_content(&mut reader, &mut create(&place)?)?;
                    if spool.files.insert(entry.path, place).is_some() {
                        return Err(bad("it has a file twice"));
                    }
                }
                Kind::Symlink(target) => {
                    let above = &entry.path[..entry.path.len() - tar::file_name(&entry.path).len()];
                    let target = joined(above, &target);
                    spool.links.insert(entry.path, target);
                }
                Kind::HardLink(target) => drop(spool.links.insert(entry.path, target)),
                Kind::Directory | Kind::Special(_) => {}
            }
        }
        Ok(spool)
    }

    fn find(&self, name: &str) -> io::Result<&Path> {
        let mut name = name.as_bytes();
        for _ in 0..8 {
            match (self.files.get(name), self.links.get(name)) {
                (Some(path), _) => return Ok(path),
                (None, Some(target)) => name = target,
                (None, None) => break,
            }
        }
        Err(bad("manifest.json names a file that is not in it"))
    }

    fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        read(self.find(name)?, Links::Refuse, DOCUMENT)
    }
}

/// The path that a link in `above` (with its slash) names.
fn joined(above: &[u8], target: &[u8]) -> Box<[u8]> {
    let mut parts: Vec<&[u8]> = above.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/').into()
}

fn unpack_docker(reader: tar::Reader<impl Read>, to: &Path) -> io::Result<()> {
    let spool = Spool::read(reader, to.join("spool"))?;
    let images: Vec<DockerImage> = strict::parse(&spool.document("manifest.json")?)?;
    if images.len() > ARCHIVE_FILES {
        return Err(bad("it has too many images"));
    }
    let mut manifests = Vec::new();
    for image in &images {
        let config = spool.document(&image.config)?;
        let parsed = ImageConfig::parse(&config).map_err(|error| bad(format!("its configuration: {error}")))?;
        if image.layers.len() > LAYERS {
            return Err(bad("it has an image of too many layers"));
        }
        let layers = image.layers.iter().map(|name| layer(spool.find(name)?, to)).collect::<io::Result<Vec<_>>>()?;
        // What the OCI manifest of the same image says; here only the label has it.
        let base = parsed.config.labels.get(BASE_DIGEST).map(String::as_str);
        let annotations: BTreeMap<&str, &str> = base.map(|base| (BASE_DIGEST, base)).into_iter().collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": document(to, OCI_CONFIG, &config)?, "layers": layers,
            "annotations": annotations,
        });
        let mut descriptor = document(to, OCI_MANIFEST, manifest.to_string().as_bytes())?;
        let mut platform = json!({ "os": parsed.os, "architecture": parsed.architecture });
        if !parsed.variant.is_empty() {
            platform["variant"] = parsed.variant.into();
        }
        descriptor["platform"] = platform;
        manifests.push(descriptor);
    }
    fs_err::remove_dir_all(&spool.directory)?;
    fs_err::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    fs_err::write(to.join("index.json"), index.to_string())
}

fn document(to: &Path, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
    let digest = hex::encode(Sha256::digest(bytes));
    fs_err::write(to.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

/// Gives a layer its name in the layout.
fn layer(file: &Path, to: &Path) -> io::Result<Value> {
    let mut head = Vec::new();
    open(file, Links::Follow)?.take(4).read_to_end(&mut head)?;
    let packing = match Packing::of(&head) {
        Packing::Gzip => "tar+gzip",
        Packing::Zstd => "tar+zstd",
        Packing::Plain => "tar",
    };
    let mut hash = HashReader::new(open(file, Links::Follow)?);
    io::copy(&mut hash, &mut io::sink())?;
    let (digest, size) = hash.finish();
    let digest = hex::encode(digest);
    match fs_err::hard_link(file, to.join("blobs/sha256").join(&digest)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let media_type = format!("application/vnd.oci.image.layer.v1.{packing}");
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
}

/// Writes the content of the last entry to `sink`.
fn copy_content(reader: &mut tar::Reader<impl Read>, sink: &mut impl Write) -> io::Result<()> {
    let size = reader.size;
    if io::copy(&mut reader.content(), sink)? == size { Ok(()) } else { Err(bad("it ends inside a file")) }
}

#[cfg(test)]
mod tests;
