//! From `index.json` through image indexes to the images, checking every document on the way.

pub mod blob;
pub mod config;
mod document;
pub mod image;
pub mod written;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use oci_read::{
    document::{
        BASE_DIGEST, Descriptor, Document, ImageConfig, Index, Key, Manifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
        Platform,
    },
    json,
    limits::{DOCUMENT, DOCUMENTS, INDEX_DEPTH, MANIFESTS},
};

use self::image::{Image, base_layers};
use crate::{
    Error, Root,
    places::ENTRYPOINT,
    report::{Findings, Rule, printable},
};

/// What `index.json` leads to.
pub(crate) struct LayoutContent {
    pub roots: Vec<Root>,
    pub images: Vec<Image>,
}

/// Follows the entries of `index.json` that are named `tag`, or all of them.
pub(crate) fn read_images(dir: &Path, tag: Option<&str>, findings: &mut Findings) -> Result<LayoutContent, Error> {
    let bad = |reason: String| Error::BadIndex { dir: dir.into(), reason };
    let marker: serde_json::Value =
        json::parse(&read_file(dir, "oci-layout")?).map_err(|e| bad(format!("oci-layout: {e}")))?;
    if marker.get("imageLayoutVersion") != Some(&"1.0.0".into()) {
        return Err(bad("oci-layout does not say imageLayoutVersion 1.0.0".into()));
    }
    let bytes = read_file(dir, "index.json")?;
    let mut of_index = Findings::default();
    let Some(Document::Index(index)) = document::parse(&bytes, None, "index.json", &mut of_index) else {
        let reasons: Vec<_> = of_index.into_vec().into_iter().map(|finding| finding.detail).collect();
        return Err(bad(format!("index.json {}", reasons.join("; "))));
    };
    findings.append(of_index);

    let roots = choose(dir, tag, index.manifests)?;
    let mut walk =
        Walk { dir, findings, images: Vec::new(), seen: HashSet::new(), seen_parts: HashSet::new(), budget: DOCUMENTS };
    for root in &roots {
        walk.descriptor(root, "index.json", 0);
    }
    Ok(LayoutContent { images: walk.images, roots: roots.iter().map(Root::of).collect() })
}

impl Root {
    fn of(descriptor: &Descriptor) -> Self {
        let text = |text: &String| printable(text.as_bytes());
        Self {
            name: descriptor.name().map(|name| printable(name.as_bytes())),
            digest: text(&descriptor.digest),
            media_type: text(&descriptor.media_type),
        }
    }
}

fn read_file(dir: &Path, name: &'static str) -> Result<Vec<u8>, Error> {
    let bytes = pixi_oci_platform::read(&dir.join(name), pixi_oci_platform::Links::Follow, DOCUMENT);
    bytes.map_err(|source| Error::NotALayout { dir: dir.into(), file: name, source })
}

fn choose(dir: &Path, tag: Option<&str>, entries: Vec<Descriptor>) -> Result<Vec<Descriptor>, Error> {
    if entries.is_empty() {
        return Err(Error::Empty { dir: dir.into() });
    }
    let Some(tag) = tag else { return Ok(entries) };
    let name = |entry: &Descriptor| entry.name().map(str::to_owned);
    let known = entries.iter().filter_map(name).map(|name| printable(name.as_bytes())).take(50).collect();
    let chosen: Vec<_> = entries.into_iter().filter(|entry| name(entry).as_deref() == Some(tag)).collect();
    if chosen.is_empty() {
        return Err(Error::UnknownTag { dir: dir.into(), tag: tag.into(), known });
    }
    Ok(chosen)
}

struct Walk<'a> {
    dir: &'a Path,
    findings: &'a mut Findings,
    images: Vec<Image>,
    /// A document that is named twice is read once.
    seen: HashSet<Key>,
    /// So is a blob of an artifact.
    seen_parts: HashSet<Key>,
    /// How many more bytes of documents may be read.
    budget: u64,
}

impl Walk<'_> {
    fn descriptor(&mut self, descriptor: &Descriptor, parent: &str, depth: usize) {
        let key = descriptor.key();
        if self.seen.contains(&key) {
            return self.platform_of_seen(descriptor);
        }
        if self.seen.len() >= MANIFESTS {
            return self.findings.error(Rule::Document, parent, format!("leads to more than {MANIFESTS} manifests"));
        }
        self.seen.insert(key);
        match descriptor.media_type.as_str() {
            OCI_INDEX if depth < INDEX_DEPTH => self.index(descriptor, depth),
            OCI_INDEX => self.findings.error(Rule::Document, parent, format!("indexes nest deeper than {INDEX_DEPTH}")),
            OCI_MANIFEST => self.manifest(descriptor),
            other => {
                let text = format!("is {}, neither an OCI image index nor manifest", printable(other.as_bytes()));
                self.findings.error(Rule::MediaType, &descriptor.digest, text);
            }
        }
    }

    /// An image may stand in two indexes; each must name its platform rightly.
    fn platform_of_seen(&mut self, descriptor: &Descriptor) {
        if let Some(image) = self.images.iter().find(|image| image.digest == descriptor.digest) {
            check_platform(descriptor, &image.config, self.findings);
        }
    }

    fn index(&mut self, descriptor: &Descriptor, depth: usize) {
        let Some(bytes) = self.read(descriptor) else { return };
        let parsed = document::parse(&bytes, Some(OCI_INDEX), &descriptor.digest, self.findings);
        let Some(Document::Index(Index { manifests, .. })) = parsed else { return };
        let mut platforms: BTreeMap<&Platform, &str> = BTreeMap::new();
        let before = self.images.len();
        for child in &manifests {
            match &child.platform {
                Some(platform) if platform.is_unknown() => {}
                Some(platform) => {
                    if let Some(first) = platforms.insert(platform, &child.digest) {
                        let text = format!(
                            "names {} and {} for {}",
                            printable(first.as_bytes()),
                            printable(child.digest.as_bytes()),
                            printable(platform.to_string().as_bytes()),
                        );
                        self.findings.error(Rule::Platform, &descriptor.digest, text);
                    }
                }
                None => self.findings.notice(Rule::Platform, &child.digest, "its image index names no platform"),
            }
            self.descriptor(child, &descriptor.digest, depth + 1);
        }
        if self.images[before..].iter().any(Image::is_ours) {
            written::check(&written::INDEX, &bytes, &descriptor.digest, self.findings);
        }
    }

    fn read(&mut self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        let bytes = blob::read_document(self.dir, descriptor, self.findings)?;
        let left = self.budget.checked_sub(bytes.len() as u64);
        if left.is_none() {
            let text = format!("is not read: the documents have more than {DOCUMENTS} bytes in all");
            self.findings.error(Rule::Document, &descriptor.digest, text);
        }
        self.budget = left?;
        Some(bytes)
    }

    fn manifest(&mut self, descriptor: &Descriptor) {
        let Some(bytes) = self.read(descriptor) else { return };
        let subject = &descriptor.digest;
        let parsed = document::parse(&bytes, Some(OCI_MANIFEST), subject, self.findings);
        let Some(Document::Manifest(manifest)) = parsed else { return };
        if manifest.config.media_type != OCI_CONFIG {
            return self.artifact(descriptor, &manifest);
        }
        let Some(config_bytes) = self.read(&manifest.config) else { return };
        let parsed = document::parse_config(&config_bytes, &manifest.config.digest, self.findings);
        let Some(config) = parsed else { return };
        config::check(&manifest.config.digest, &config, manifest.layers.len(), self.findings);
        check_platform(descriptor, &config, self.findings);
        let image = Image {
            digest: descriptor.digest.clone(),
            config_digest: manifest.config.digest,
            base_layers: base_layers(&manifest.common.annotations, &config, manifest.layers.len()),
            base_digest: manifest.common.annotations.get(BASE_DIGEST).cloned(),
            config,
            layers: manifest.layers,
        };
        if image.is_ours() {
            written::check(&written::MANIFEST, &bytes, &image.digest, self.findings);
            written::check(&written::CONFIG, &config_bytes, &image.config_digest, self.findings);
            written::settings(&image.config, ENTRYPOINT, &image.config_digest, self.findings);
        }
        image.base(self.findings);
        self.images.push(image);
    }

    /// A manifest that is no image has blobs of any type; only their bytes can be checked.
    fn artifact(&mut self, descriptor: &Descriptor, manifest: &Manifest) {
        // What BuildKit attests of an image stands beside it in the image index.
        if !descriptor.platform.as_ref().is_some_and(Platform::is_unknown) {
            let text = format!("is no image: its config is {}", printable(manifest.config.media_type.as_bytes()));
            self.findings.error(Rule::MediaType, &descriptor.digest, text);
        }
        for part in [&*manifest.config].into_iter().chain(&manifest.layers) {
            if self.seen_parts.insert(part.key()) {
                blob::check(self.dir, part, self.findings);
            }
        }
    }
}

fn check_platform(descriptor: &Descriptor, config: &ImageConfig, findings: &mut Findings) {
    let (Some(said), own) = (&descriptor.platform, config.platform()) else { return };
    // An index may leave out the variant when nothing has to be chosen by it.
    let same_variant = said.variant.is_empty() || said.variant == own.variant;
    if (&said.os, &said.architecture) != (&own.os, &own.architecture) || !same_variant {
        let text = format!(
            "an index says {}, its image configuration {}",
            printable(said.to_string().as_bytes()),
            printable(own.to_string().as_bytes())
        );
        findings.error(Rule::Platform, &descriptor.digest, text);
    }
}
