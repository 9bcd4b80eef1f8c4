//! What is to be published, and what was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use pixi_oci_image::{Descriptor, Image, Index};
use pixi_oci_layer::Digest;

use crate::{error::Error, event::Arrival};

/// What is to be at a repository afterwards. The order in which it gets there is not in it: [`push`](super::push) has
/// only one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushPlan {
    /// One for each architecture.
    pub images: Vec<PushImage>,
    /// Joins them. What it names has to be in `images` or at the repository already.
    pub index: Option<Document>,
    /// The names. Among those of one rule, this order is kept.
    pub tags: Vec<TagStep>,
    /// Repositories of the same registry that may have some of the blobs, so that these are linked and not sent.
    pub mount_from: Vec<MountFrom>,
    /// Blobs that were sent ahead, and how they came: this was said then.
    pub arrived: BTreeMap<Digest, Arrival>,
    /// Blobs that the repository was seen to have while the image was made, and how they came.
    pub seen: BTreeMap<Digest, Arrival>,
    pub dry_run: bool,
}

/// A repository of the same registry from which blobs may be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFrom {
    pub path: String,
    /// Which blobs it is known to have; it is not asked for others. `None`: it may have any.
    pub blobs: Option<BTreeSet<Digest>>,
}

impl From<&str> for MountFrom {
    /// A repository that may have any blob.
    fn from(path: &str) -> Self {
        Self { path: path.to_owned(), blobs: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushImage {
    pub manifest: Document,
    pub config: Document,
    /// Bottom first.
    pub layers: Vec<PushLayer>,
}

/// A document that was serialised once; its bytes are never made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushLayer {
    pub descriptor: Descriptor,
    /// A file with the compressed layer; not needed for one that the repository has.
    pub source: Option<PathBuf>,
}

/// A name for one of the plan's manifests, or for its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagStep {
    pub tag: String,
    pub target: Digest,
    pub rule: TagRule,
}

/// What happens to a tag that names something else already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagRule {
    /// It is for work in progress and is overwritten.
    Staging,
    /// It never changes: [`ErrorKind::TagExists`](crate::ErrorKind::TagExists), before anything is sent.
    Immutable,
    /// It moves, after all immutable ones are there. `latest` moves after all others.
    Moving,
}

/// What was done; with `dry_run`, what would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    pub uploaded: Vec<Digest>,
    pub mounted: Vec<Digest>,
    pub present: Vec<Digest>,
    /// Manifests, and the index, that were not there before.
    pub manifests: Vec<Digest>,
    /// Every tag of the plan, in the order of publication.
    pub tags: Vec<TagResult>,
    /// HTTP requests, those for tokens and repeated ones included.
    pub requests: u64,
    /// Bytes of blobs and manifests that were sent, repeated ones included.
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagResult {
    pub tag: String,
    pub old: Option<Digest>,
    pub new: Digest,
}

impl PushReport {
    pub(super) fn note(&mut self, blob: Digest, how: Arrival) {
        let list = match how {
            Arrival::Present => &mut self.present,
            Arrival::Mounted => &mut self.mounted,
            Arrival::Uploaded => &mut self.uploaded,
        };
        list.push(blob);
    }
}

impl TagStep {
    pub(super) fn unknown_target(&self) -> Error {
        Error::plan(format!("the tag {} would name {}, which is not in it", self.tag, self.target))
    }
}

impl Document {
    pub fn new(descriptor: &Descriptor, bytes: &[u8]) -> Self {
        Self { descriptor: descriptor.clone(), bytes: bytes.to_vec() }
    }
}

impl PushImage {
    /// An image as it was built; `blobs` says where its layers are.
    pub fn new(image: &Image, blobs: &BTreeMap<Digest, PathBuf>) -> Self {
        let layer = |descriptor: &Descriptor| PushLayer {
            descriptor: descriptor.clone(),
            source: blobs.get(&descriptor.digest).cloned(),
        };
        Self {
            manifest: Document::new(&image.manifest, &image.manifest_bytes),
            config: Document::new(&image.config, &image.config_bytes),
            layers: image.layers.iter().map(|entry| layer(&entry.descriptor)).collect(),
        }
    }
}

impl PushPlan {
    /// An index with its images, without a tag yet.
    pub fn new(index: &Index, blobs: &BTreeMap<Digest, PathBuf>) -> Self {
        let images = index.images.iter().map(|image| PushImage::new(image, blobs)).collect();
        Self::of(images, Some(Document::new(&index.descriptor, &index.bytes)))
    }

    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.images.iter().map(|image| &image.manifest).chain(&self.index)
    }

    /// What is pushed: the index, or the only image.
    pub fn root(&self) -> Option<Digest> {
        let only = self.images.first().map(|image| &image.manifest);
        self.index.as_ref().or(only).map(|document| document.descriptor.digest)
    }

    /// Images and perhaps their index, without a tag yet.
    pub fn of(images: Vec<PushImage>, index: Option<Document>) -> Self {
        Self { images, index, ..Self::default() }
    }
}
