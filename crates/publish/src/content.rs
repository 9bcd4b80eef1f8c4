//! What is published: the same for every repository.

pub mod mount;
pub mod prepare;
pub mod pushed;
pub mod sif;

use std::collections::{BTreeMap, BTreeSet};

use crate::tags::{PlannedTag, TagPlan, TagTarget};
use pixi_oci_image::{Architecture, Descriptor, MediaType, index_document};
use pixi_oci_layer::Digest;
use pixi_oci_registry::push::{Document, PushImage, PushPlan, TagStep};
use pixi_oci_store::{
    DestinationRef, StoredImage, StoredImages,
    base::{BaseRef, LayoutImage},
    read_stored,
};

use crate::{
    error::PublishError, leg::CheckedLeg, report::PublishedImage, request::PublishRequest, request::PublishSource,
    request::settings::Settings,
};
use pixi_oci_pipeline::BuildReport;
use pixi_oci_plan::Error;
use pixi_oci_plan::Staged;

pub struct Payload<'a> {
    /// Documents and layers, without tags yet.
    pub plan: PushPlan,
    /// What the tags of the version name.
    pub root: Descriptor,
    pub architectures: Vec<(Architecture, Digest)>,
    pub images: Vec<PublishedImage>,
    pub build: Option<BuildReport>,
    /// What is in the layout, unless the images are in the repositories only.
    pub stored: Option<StoredImages>,
    /// Keeps the files of layers for as long as they may be sent.
    staged: Option<Staged<'a>>,
}

/// Reads what is published, or has `build` make it.
pub fn content<'a>(
    request: &PublishRequest,
    legs: &[CheckedLeg],
    build: impl FnOnce() -> Result<Staged<'a>, PublishError>,
) -> Result<Payload<'a>, PublishError> {
    match &request.source {
        PublishSource::Workspace | PublishSource::Leg => {
            let staged = build()?;
            let (stored, report, staged) = if staged.is_whole()? {
                let report = staged.publish()?;
                let destination = DestinationRef::parse(&report.reference).map_err(Error::from)?;
                (read_stored(&destination.path, &LayoutImage::Digest(report.digest))?, report, None)
            } else {
                // A layout must not lack layers; the repositories have them.
                staged.trim()?;
                (stored_images(&staged), staged.report.clone(), Some(staged))
            };
            let stored = as_wanted(request, stored)?;
            if request.source == PublishSource::Leg && stored.images.len() != 1 {
                return Err(PublishError::LegOfMany);
            }
            let mut content = of_stored(stored, request.source == PublishSource::Leg);
            content.build = Some(report);
            content.staged = staged;
            Ok(content)
        }
        PublishSource::Layout(text) => {
            let Ok(BaseRef::OciLayout { dir, image }) = BaseRef::parse(text) else {
                return Err(PublishError::NoLayout { text: text.chars().take(300).collect() });
            };
            let content = of_stored(as_wanted(request, read_stored(&dir, &image)?)?, false);
            require(&request.settings, &content.architectures.iter().map(|(a, _)| *a).collect())?;
            Ok(content)
        }
        PublishSource::Legs(_) => {
            require(&request.settings, &legs.iter().map(|leg| leg.platform.architecture).collect())?;
            Ok(of_legs(legs)?)
        }
    }
}

/// Without an index the image itself is what has the tags.
fn as_wanted(request: &PublishRequest, stored: StoredImages) -> Result<StoredImages, PublishError> {
    if !stored.is_index() {
        return Ok(stored);
    }
    let platforms = stored.images.iter().filter_map(|image| image.platform.as_ref());
    request.check_index(&platforms.map(|platform| platform.architecture).collect::<Vec<_>>())?;
    match &stored.images[..] {
        [only] if !request.settings.index => Ok(StoredImages { root: only.image.manifest.clone(), ..stored }),
        _ => Ok(stored),
    }
}

/// The index that names the legs, and nothing else: their blobs are where they have to be.
fn of_legs(legs: &[CheckedLeg]) -> Result<Payload<'static>, Error> {
    let children: Vec<_> = legs.iter().map(|leg| (&leg.manifest, &leg.platform)).collect();
    let annotations = legs.first().map(|leg| leg.leg.publication.index_annotations.clone()).unwrap_or_default();
    let bytes = index_document(&children, &annotations)?;
    let root = Descriptor::of(MediaType::ImageIndex, &bytes);
    let images = legs.iter().map(|leg| PublishedImage {
        platform: Some(leg.platform.to_string()),
        digest: leg.manifest.digest,
        config: None,
        layers: Vec::new(),
    });
    let plan = PushPlan::of(Vec::new(), Some(Document { descriptor: root.clone(), bytes }));
    Ok(Payload::of_index(plan, root, images.collect()))
}

/// Images that are in no layout.
fn stored_images(staged: &Staged<'_>) -> StoredImages {
    let (index, blobs) = (&staged.index, staged.blobs());
    let images = index
        .images
        .iter()
        .map(|image| StoredImage { platform: Some(image.platform.clone()), image: PushImage::new(image, &blobs) });
    StoredImages { root: Document::new(&index.descriptor, &index.bytes), images: images.collect() }
}

/// An index is published only with every architecture that is required.
fn require(settings: &Settings, there: &BTreeSet<Architecture>) -> Result<(), PublishError> {
    let Some((required, required_by)) = &settings.required else { return Ok(()) };
    let missing: Vec<&str> = required.iter().filter(|a| !there.contains(a)).map(|a| a.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(PublishError::ArchMissing { missing: missing.join(", "), required_by })
}

fn of_stored(stored: StoredImages, is_leg: bool) -> Payload<'static> {
    let mut plan = stored.push_plan();
    let mut root = stored.root.descriptor.clone();
    if is_leg {
        // The index is made when all architectures are there.
        plan.index = None;
        root = plan.images[0].manifest.descriptor.clone();
    }
    let known = stored.images.iter().filter(|_| stored.is_index());
    let architectures =
        first_of_each(known.filter_map(|stored| {
            Some((stored.platform.as_ref()?.architecture, stored.image.manifest.descriptor.digest))
        }));
    let images = stored
        .images
        .iter()
        .map(|stored| PublishedImage {
            platform: stored.platform.as_ref().map(ToString::to_string),
            digest: stored.image.manifest.descriptor.digest,
            config: Some(stored.image.config.descriptor.digest),
            layers: stored.image.layers.iter().map(|layer| layer.descriptor.digest).collect(),
        })
        .collect();
    Payload { plan, root, architectures, images, build: None, stored: Some(stored), staged: None }
}

/// The plan's tags on what is published. Without a root there is the image of one architecture only.
pub fn tag_steps(tags: &TagPlan, root: Option<Digest>, architectures: &[(Architecture, Digest)]) -> Vec<TagStep> {
    let step = |planned: &PlannedTag| {
        let target = match planned.target {
            TagTarget::Index => root?,
            TagTarget::Image(architecture) => architectures.iter().find(|(other, _)| *other == architecture)?.1,
        };
        Some(TagStep { tag: planned.tag.clone(), target, rule: planned.rule })
    };
    tags.tags.iter().filter_map(step).collect()
}

/// The images that get a tag of their own: of several variants the first.
fn first_of_each(images: impl Iterator<Item = (Architecture, Digest)>) -> Vec<(Architecture, Digest)> {
    let mut seen = BTreeSet::new();
    images.filter(|(architecture, _)| seen.insert(*architecture)).collect()
}

pub fn blobs(plan: &PushPlan) -> Vec<Digest> {
    sizes(plan).into_keys().collect()
}

pub fn bytes_of(plan: &PushPlan, blobs: &[Digest]) -> u64 {
    let sizes = sizes(plan);
    blobs.iter().filter_map(|blob| sizes.get(blob)).sum()
}

pub fn sizes(plan: &PushPlan) -> BTreeMap<Digest, u64> {
    let images = plan.images.iter();
    let blobs =
        images.flat_map(|image| image.layers.iter().map(|layer| &layer.descriptor).chain([&image.config.descriptor]));
    blobs.map(|blob| (blob.digest, blob.size)).collect()
}

impl Payload<'_> {
    /// An index of images that are in the repositories already.
    pub fn of_index(plan: PushPlan, root: Descriptor, images: Vec<PublishedImage>) -> Self {
        Self { plan, root, architectures: Vec::new(), images, build: None, stored: None, staged: None }
    }
}
