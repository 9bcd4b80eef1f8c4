//! From `index.json` through image indexes to the images, checking every document on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    path::Path,
};

use crate::{
    Error, ImageReport, blob, config,
    document::{self, CONFIG, Descriptor, INDEX, ImageConfig, Index, MANIFEST, Manifest, Platform, REF_NAME},
    layer::Layers,
    report::{Findings, Rule, printable},
    tree,
};

/// Deeper nesting has no use; registries and tools stop at one or two.
const MAX_DEPTH: usize = 4;
/// Enough for any index; keeps a layout of documents that name one another a thousand times from taking for ever.
const MAX_MANIFESTS: usize = 1000;
/// Container runtimes stop at 127 or so (the kernel's overlay mounts).
const MAX_LAYERS: usize = 1000;
/// For `index.json`, which may list many images.
const MAX_INDEX_JSON: u64 = 16 << 20;

/// An image whose documents could be read.
pub(crate) struct Image {
    pub digest: String,
    config_digest: String,
    config: ImageConfig,
    /// From the lowest to the highest.
    pub layers: Vec<Descriptor>,
}

/// All images that `index.json` leads to from the entries named `tag`, or from all entries.
pub(crate) fn read_images(dir: &Path, tag: Option<&str>, findings: &mut Findings) -> Result<Vec<Image>, Error> {
    let bad = |reason: String| Error::BadIndex { dir: dir.into(), reason };
    let marker: serde_json::Value =
        serde_json::from_slice(&read_file(dir, "oci-layout")?).map_err(|e| bad(format!("oci-layout: {e}")))?;
    if marker.get("imageLayoutVersion") != Some(&"1.0.0".into()) {
        return Err(bad("oci-layout does not say imageLayoutVersion 1.0.0".into()));
    }
    let bytes = read_file(dir, "index.json")?;
    let mut parse_findings = Findings::default();
    let index: Option<Index> = document::parse(&bytes, None, "index.json", &mut parse_findings);
    let Some(index) = index else {
        let reason = parse_findings.into_vec().into_iter().map(|f| f.detail).collect::<Vec<_>>().join("; ");
        return Err(bad(format!("index.json {reason}")));
    };
    findings.append(parse_findings);

    let roots = choose(dir, tag, index)?;
    let mut walk = Walk { dir, findings, images: Vec::new(), seen: BTreeSet::new() };
    for root in &roots {
        walk.descriptor(root, "index.json", 0);
    }
    Ok(walk.images)
}

fn read_file(dir: &Path, name: &'static str) -> Result<Vec<u8>, Error> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs_err::File::open(dir.join(name))?.take(MAX_INDEX_JSON + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_INDEX_JSON {
            return Err(io::Error::other(format!("it has more than {MAX_INDEX_JSON} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|source| Error::NotALayout { dir: dir.into(), file: name, source })
}

fn choose(dir: &Path, tag: Option<&str>, index: Index) -> Result<Vec<Descriptor>, Error> {
    if index.manifests.is_empty() {
        return Err(Error::Empty { dir: dir.into() });
    }
    let Some(tag) = tag else { return Ok(index.manifests) };
    let name = |d: &Descriptor| d.annotations.get(REF_NAME).cloned();
    let known = index.manifests.iter().filter_map(name).map(|n| printable(n.as_bytes())).take(50).collect();
    let chosen: Vec<_> = index.manifests.into_iter().filter(|d| name(d).as_deref() == Some(tag)).collect();
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
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn descriptor(&mut self, descriptor: &Descriptor, parent: &str, depth: usize) {
        if !self.seen.contains(&descriptor.digest) && self.seen.len() >= MAX_MANIFESTS {
            self.findings.error(Rule::Document, parent, format!("more than {MAX_MANIFESTS} manifests"));
            return;
        }
        if !self.seen.insert(descriptor.digest.clone()) {
            return self.platform_of_seen(descriptor);
        }
        match descriptor.media_type.as_str() {
            INDEX if depth < MAX_DEPTH => self.index(descriptor, depth),
            INDEX => self.findings.error(Rule::Document, parent, format!("indexes nest deeper than {MAX_DEPTH}")),
            MANIFEST => self.manifest(descriptor),
            other => {
                let detail = format!("is {}, neither an OCI image index nor manifest", printable(other.as_bytes()));
                self.findings.error(Rule::MediaType, &descriptor.digest, detail);
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
        let Some(bytes) = blob::read_document(self.dir, descriptor, self.findings) else { return };
        let Some(index) = document::parse::<Index>(&bytes, Some(INDEX), &descriptor.digest, self.findings) else {
            return;
        };
        let mut platforms: BTreeMap<&Platform, &str> = BTreeMap::new();
        for child in &index.manifests {
            match &child.platform {
                Some(platform) if platform.is_unknown() => {}
                Some(platform) => {
                    if let Some(first) = platforms.insert(platform, &child.digest) {
                        let detail = format!(
                            "names {} and {} for {}",
                            printable(first.as_bytes()),
                            printable(child.digest.as_bytes()),
                            printable(platform.to_string().as_bytes()),
                        );
                        self.findings.error(Rule::Platform, &descriptor.digest, detail);
                    }
                }
                None => self.findings.notice(Rule::Platform, &child.digest, "its image index names no platform"),
            }
            self.descriptor(child, &descriptor.digest, depth + 1);
        }
    }

    fn manifest(&mut self, descriptor: &Descriptor) {
        let Some(bytes) = blob::read_document(self.dir, descriptor, self.findings) else { return };
        let subject = &descriptor.digest;
        let Some(manifest) = document::parse::<Manifest>(&bytes, Some(MANIFEST), subject, self.findings) else {
            return;
        };
        if manifest.layers.len() > MAX_LAYERS {
            self.findings.error(Rule::LayerCount, subject, format!("has more than {MAX_LAYERS} layers"));
            return;
        }
        if manifest.config.media_type != CONFIG {
            return self.artifact(descriptor, &manifest);
        }
        let Some(bytes) = blob::read_document(self.dir, &manifest.config, self.findings) else { return };
        let Some(config) = document::parse_config(&bytes, &manifest.config.digest, self.findings) else { return };
        config::check(&manifest.config.digest, &config, manifest.layers.len(), self.findings);
        check_platform(descriptor, &config, self.findings);
        self.images.push(Image {
            digest: descriptor.digest.clone(),
            config_digest: manifest.config.digest,
            config,
            layers: manifest.layers,
        });
    }

    /// A manifest that is no image (a signature, an SBOM) has blobs of any type; only their bytes can be checked.
    fn artifact(&mut self, descriptor: &Descriptor, manifest: &Manifest) {
        let detail = format!("is no image: its config is {}", printable(manifest.config.media_type.as_bytes()));
        self.findings.notice(Rule::MediaType, &descriptor.digest, detail);
        for part in [&manifest.config].into_iter().chain(&manifest.layers) {
            blob::check(self.dir, part, self.findings);
        }
    }
}

fn check_platform(descriptor: &Descriptor, config: &ImageConfig, findings: &mut Findings) {
    let (Some(said), own) = (&descriptor.platform, config.platform()) else { return };
    // An index may leave out the variant when nothing has to be chosen by it.
    let same_variant = said.variant.is_none() || said.variant == own.variant;
    if (&said.os, &said.architecture) != (&own.os, &own.architecture) || !same_variant {
        let detail = format!(
            "an index says {}, its image configuration {}",
            printable(said.to_string().as_bytes()),
            printable(own.to_string().as_bytes())
        );
        findings.error(Rule::Platform, &descriptor.digest, detail);
    }
}

impl ImageConfig {
    fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
        }
    }
}

impl Image {
    /// Compares the image with what its layers really are, and says what they are.
    pub fn report(&self, layers: &Layers, findings: &mut Findings) -> ImageReport {
        let read: Vec<_> = self.layers.iter().map(|descriptor| layers.get(&descriptor.digest)).collect();
        for (layer, diff_id) in read.iter().zip(&self.config.rootfs.diff_ids) {
            if let Some(layer) = layer
                && layer.report.diff_id != *diff_id
            {
                let detail = format!(
                    "the tar inside has the digest {}; image configuration {} says {}",
                    layer.report.diff_id,
                    self.config_digest,
                    printable(diff_id.as_bytes())
                );
                findings.error(Rule::DiffId, &layer.report.digest, detail);
            }
        }
        let read: Vec<_> = read.into_iter().flatten().collect();
        tree::check(&read, findings);
        ImageReport {
            manifest: self.digest.clone(),
            config: self.config_digest.clone(),
            platform: printable(self.config.platform().to_string().as_bytes()),
            layers: read.iter().map(|layer| layer.report.clone()).collect(),
        }
    }
}
