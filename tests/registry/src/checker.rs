//! The independent reader: walks every tag of a registry down to the layers and verifies everything on the way. It
//! knows nothing but GET, SHA-256 and the image specification.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

const SIF: &str = "application/vnd.sylabs.sif.layer.v1.sif";

/// What a registry has and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `REPOSITORY:TAG` and the digest that it has.
    pub tags: BTreeMap<String, String>,
    /// Digests of everything below the tags.
    pub reached: BTreeSet<String>,
    /// What is missing or wrong, in words; empty if nothing is.
    pub findings: Vec<String>,
}

impl Found {
    /// # Panics
    ///
    /// With all findings, if there are any.
    #[track_caller]
    pub fn sound(self) -> Self {
        assert!(self.findings.is_empty(), "{:#?}", self.findings);
        self
    }
}

/// Walks all repositories of the registry at `address`, `HOST:PORT`, over plain HTTP.
pub fn check(address: &str) -> Found {
    let mut found = Found::default();
    let catalog = client::get(address, "/v2/_catalog?n=1000");
    let names = if catalog.status == 404 { Value::Null } else { catalog.json()["repositories"].clone() };
    for name in names.as_array().into_iter().flatten() {
        check_repository(address, name.as_str().unwrap(), &mut found);
    }
    found
}

/// Walks all tags of one repository.
pub fn check_repository(address: &str, repository: &str, found: &mut Found) {
    // No tag was ever written, or all were deleted.
    let list = client::get(address, &format!("/v2/{repository}/tags/list"));
    let tags = if list.status == 200 { list.json()["tags"].clone() } else { Value::Null };
    for tag in tags.as_array().into_iter().flatten() {
        let tag = tag.as_str().unwrap();
        let mut walk = Walk { address, repository, found };
        let name = format!("{repository}:{tag}");
        match walk.tag(tag) {
            Ok(digest) => drop(found.tags.insert(name, digest)),
            Err(finding) => found.findings.push(format!("{name}: {finding}")),
        }
    }
}

struct Walk<'a> {
    address: &'a str,
    repository: &'a str,
    found: &'a mut Found,
}

type Checked<T> = Result<T, String>;

impl Walk<'_> {
    fn tag(&mut self, tag: &str) -> Checked<String> {
        let answer = self.get(&format!("manifests/{tag}"))?;
        let digest = digest(&answer.body);
        if answer.header("docker-content-digest").is_some_and(|said| said != digest) {
            return Err(format!("Docker-Content-Digest is not that of the bytes, {digest}"));
        }
        let document = document(&answer.body)?;
        let media_type = text(&document["mediaType"])?;
        if answer.header("content-type").map(|said| said.split(';').next().unwrap()) != Some(media_type) {
            return Err(format!("Content-Type is not the document's media type, {media_type}"));
        }
        self.manifest(&digest, answer.body.len() as u64, media_type, None)?;
        Ok(digest)
    }

    /// A manifest or an index that a descriptor, or a tag, names.
    fn manifest(&mut self, digest: &str, size: u64, media_type: &str, platform: Option<&Value>) -> Checked<()> {
        let bytes = self.fetch("manifests", digest, size)?;
        let document = document(&bytes)?;
        if document["mediaType"] != media_type || document["schemaVersion"] != 2 {
            return Err(format!("{digest} is not a {media_type}"));
        }
        match media_type {
            OCI_INDEX | DOCKER_INDEX => {
                if !document["layers"].is_null() || !document["config"].is_null() {
                    return Err(format!("{digest} is an index and a manifest at once"));
                }
                let mut platforms = BTreeSet::new();
                for child in list(&document["manifests"])? {
                    let platform = &child["platform"];
                    if !platform.is_null() && !platforms.insert(platform.to_string()) {
                        return Err(format!("{digest} has {platform} twice"));
                    }
                    let (digest, size) = named(child)?;
                    let platform = Some(platform).filter(|platform| !platform.is_null());
                    self.manifest(digest, size, text(&child["mediaType"])?, platform)?;
                }
                Ok(())
            }
            OCI_MANIFEST | DOCKER_MANIFEST => self.image(digest, &document, platform),
            other => Err(format!("{digest} has the media type {other}")),
        }
    }

    fn image(&mut self, digest: &str, document: &Value, platform: Option<&Value>) -> Checked<()> {
        if !document["manifests"].is_null() {
            return Err(format!("{digest} is an index and a manifest at once"));
        }
        let (config_digest, size) = named(&document["config"])?;
        let config = self::document(&self.fetch("blobs", config_digest, size)?)?;
        if document["artifactType"] == SIF {
            let [layer] = &list(&document["layers"])?[..] else { return Err(format!("{digest} has not one layer")) };
            let (layer, size) = named(layer)?;
            self.fetch("blobs", layer, size)?;
            if !document["subject"].is_null() {
                let (image, size) = named(&document["subject"])?;
                self.fetch("manifests", image, size)?;
            }
            return Ok(());
        }
        for key in ["os", "architecture", "variant"] {
            if platform.is_some_and(|platform| platform[key] != config[key]) {
                return Err(format!(
                    "{digest}: the index says {key} {}, the image {}",
                    platform.unwrap()[key],
                    config[key]
                ));
            }
        }
        let (layers, diff_ids) = (list(&document["layers"])?, list(&config["rootfs"]["diff_ids"])?);
        if layers.len() != diff_ids.len() {
            return Err(format!("{digest} has {} layers and {} diff ids", layers.len(), diff_ids.len()));
        }
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let (digest, size) = named(layer)?;
            let bytes = self.fetch("blobs", digest, size)?;
            let tar = unpack(text(&layer["mediaType"])?, &bytes).map_err(|error| format!("{digest}: {error}"))?;
            if self::digest(&tar) != text(diff_id)? {
                return Err(format!("{digest} does not unpack to {diff_id}"));
            }
        }
        Ok(())
    }

    /// Something that a descriptor names, verified.
    fn fetch(&mut self, kind: &str, digest: &str, size: u64) -> Checked<Vec<u8>> {
        let bytes = self.get(&format!("{kind}/{digest}"))?.body;
        if self::digest(&bytes) != digest || bytes.len() as u64 != size {
            return Err(format!("{digest} of {size} bytes has {} bytes with {}", bytes.len(), self::digest(&bytes)));
        }
        self.found.reached.insert(digest.to_owned());
        Ok(bytes)
    }

    fn get(&self, path: &str) -> Checked<client::Answer> {
        let target = format!("/v2/{}/{path}", self.repository);
        let answer = client::get(self.address, &target);
        match (answer.status, answer.header("location")) {
            (200, _) => Ok(answer),
            // Elsewhere on this machine: some registries keep their blobs on other hosts.
            (307, Some(location)) => {
                let rest = location.strip_prefix("http://").ok_or_else(|| format!("{path} is at {location}"))?;
                let (host, target) = rest.split_once('/').ok_or_else(|| format!("{path} is at {location}"))?;
                let answer = client::get(host, &format!("/{target}"));
                if answer.status == 200 { Ok(answer) } else { Err(format!("{location}: {}", answer.status)) }
            }
            (status, _) => Err(format!("GET {target}: {status}")),
        }
    }
}

/// Of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn document(bytes: &[u8]) -> Checked<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))
}

fn text(value: &Value) -> Checked<&str> {
    value.as_str().ok_or_else(|| format!("{value} is no text"))
}

fn list(value: &Value) -> Checked<&Vec<Value>> {
    value.as_array().ok_or_else(|| format!("{value} is no list"))
}

/// The digest and the size in a descriptor.
fn named(descriptor: &Value) -> Checked<(&str, u64)> {
    let size = descriptor["size"].as_u64().ok_or_else(|| format!("{descriptor} has no size"))?;
    Ok((text(&descriptor["digest"])?, size))
}

fn unpack(media_type: &str, bytes: &[u8]) -> Checked<Vec<u8>> {
    let mut tar = Vec::new();
    match media_type.rsplit(['+', '.']).next() {
        Some("gzip") => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut tar).map(|_| tar),
        Some("zstd") => zstd::decode_all(bytes),
        Some("tar") => Ok(bytes.to_vec()),
        _ => return Err(format!("layers are no {media_type}")),
    }
    .map_err(|error| error.to_string())
}
