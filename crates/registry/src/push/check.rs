//! Whether a plan can be carried out, before anything is sent.

use std::{cmp::Ordering, collections::BTreeSet};

use pixi_oci_layer::Digest;

use super::plan::{Document, PushPlan, TagStep};
use crate::{
    client::Registry,
    document::References,
    error::{Error, ErrorKind},
    repository::check_tag,
};

/// Checks what needs no registry: documents are what their descriptors say and name what is in the plan; tags can be
/// tags, and are named once.
pub(super) fn consistent(plan: &PushPlan) -> Result<(), Error> {
    let bad = |reason: String| Error::plan(reason);
    for image in &plan.images {
        let named = references(&image.manifest)?;
        let own: Vec<_> = std::iter::once(&image.config.descriptor)
            .chain(image.layers.iter().map(|layer| &layer.descriptor))
            .collect();
        let same = named.all().map(|blob| (blob.digest, blob.size)).eq(own.iter().map(|blob| (blob.digest, blob.size)));
        if !same {
            let digest = image.manifest.descriptor.digest;
            return Err(bad(format!("manifest {digest} names other blobs than those that come with it")));
        }
        check_bytes(&image.config)?;
    }
    if let Some(index) = &plan.index {
        references(index)?;
    }
    let targets = targets(plan);
    let mut seen = BTreeSet::new();
    for step in &plan.tags {
        check_tag(&step.tag).map_err(|reason| bad(format!("{:?} cannot be a tag: {reason}", step.tag)))?;
        if !targets.contains(&step.target) {
            return Err(step.unknown_target());
        }
        if !seen.insert(&step.tag) {
            return Err(bad(format!("the tag {} is in it twice", step.tag)));
        }
    }
    Ok(())
}

/// The tags in the order of publication: those of images, those of the index; of these the fixed ones before those that
/// move; and `latest` after everything.
pub(super) fn in_order(plan: &PushPlan) -> Vec<&TagStep> {
    let index = plan.index.as_ref().map(|index| index.descriptor.digest);
    let mut steps: Vec<_> = plan.tags.iter().collect();
    steps.sort_by_key(|step| (step.tag == "latest", Some(step.target) == index, step.rule));
    steps
}

/// Checks that every image that the index names comes with the plan, or is at the repository: built by another job of
/// this run, and named by its digest. What a tag of an earlier run names does not count.
pub(super) async fn children(plan: &PushPlan, registry: &Registry) -> Result<(), Error> {
    let Some(index) = &plan.index else { return Ok(()) };
    let with_us: BTreeSet<Digest> = plan.images.iter().map(|image| image.manifest.descriptor.digest).collect();
    let mut missing = Vec::new();
    for child in references(index)?.all().filter(|child| !with_us.contains(&child.digest)) {
        match registry.manifest(&child.digest.to_string()).await {
            Ok((found, _)) if found.size == child.size => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => missing.push(child.digest.to_string()),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::new(ErrorKind::ArchMissing, "", missing.join(", "), "")) }
}

fn references(document: &Document) -> Result<References, Error> {
    check_bytes(document)?;
    References::parse(&document.descriptor, &document.bytes).map_err(|error| Error::plan(error.to_string()))
}

fn check_bytes(document: &Document) -> Result<(), Error> {
    let (digest, size) = (document.descriptor.digest, document.descriptor.size);
    let (found, length) = (Digest::of(&document.bytes), document.bytes.len() as u64);
    let found = match length.cmp(&size) {
        Ordering::Greater => "it is longer".to_owned(),
        Ordering::Less => format!("it has {length} bytes"),
        Ordering::Equal if found == digest => return Ok(()),
        Ordering::Equal => format!("it is {found}"),
    };
    Err(Error::plan(format!("a document should be {digest} with {size} bytes, but {found}")))
}

fn targets(plan: &PushPlan) -> BTreeSet<Digest> {
    plan.documents().map(|document| document.descriptor.digest).collect()
}
