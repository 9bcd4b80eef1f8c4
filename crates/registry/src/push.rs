//! The order in which an image arrives at a registry, so that whatever a tag names is complete at every moment.
//!
//! ```text
//! tags are looked up     one that must not change and names something else ends it here; so does a SIF's that an image would take
//! manifests              which of them are there? Their blobs are, too, unless the registry is to be asked for every one
//! layers, configurations of the others, each once, three at a time: there? linked? sent. And there now?
//! image manifests        by digest, and read back
//! lists of referrers     of artifacts with a subject, where the registry does not find them by itself
//! their tags             and looked up again
//! image index            by digest, and read back
//! tags that never change and read back
//! tags that move         `latest` last, and nothing after it
//! ```
//!
//! Layers may be [sent ahead](push_layers), while nobody knows yet which image will have them: then the second step finds them there.
//!
//! A push that is killed leaves objects without a name, or some of the tags; the next one goes on where it was.

mod ahead;
mod blobs;
mod check;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use oci_read::document::Document as Parsed;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;

pub use ahead::{Ahead, AheadLayer, push_layers};
pub use plan::{Document, MountFrom, PushImage, PushLayer, PushPlan, PushReport, TagResult, TagRule, TagStep};

use crate::{
    client::{Put, Registry},
    error::{Error, ErrorKind},
    event::Event,
};

/// Brings a registry's repository to what the plan says; with `dry_run`, only finds out what that would take.
///
/// # Errors
///
/// [`ErrorKind::TagExists`] and [`ErrorKind::ArchMissing`] before anything is sent; [`ErrorKind::DigestMismatch`] as soon as the
/// registry does not have what it confirmed, and then no further tag moves; the errors of the registry.
pub async fn push(plan: &PushPlan, registry: &Registry) -> Result<PushReport, Error> {
    check::consistent(plan)?;
    registry.ping().await?;
    let steps = check::in_order(plan);
    let mut report = PushReport { tags: present_tags(plan, &steps, registry).await?, ..PushReport::default() };
    check::children(plan, registry).await?;
    let there = documents_there(plan, &report.tags, registry).await?;
    let is_believed = |image: &&PushImage| !registry.check_blobs && there.contains(&image.manifest.descriptor.digest);
    let (believed, asked): (Vec<&PushImage>, Vec<&PushImage>) = plan.images.iter().partition(is_believed);
    let blobs = blobs::Blobs::of(asked);
    blobs.transfer(plan, registry, &mut report).await?;
    blobs::Blobs::of(believed).are_present(plan, registry, &mut report);
    for image in plan.images.iter().filter(|image| !there.contains(&image.manifest.descriptor.digest)) {
        put_manifest(&image.manifest, plan, registry, &mut report).await?;
    }
    for manifest in plan.images.iter().map(|image| &image.manifest).filter(|_| !plan.dry_run) {
        registry.refer(&manifest.descriptor, &manifest.bytes).await?;
    }
    let index = plan.index.as_ref();
    let names_index = |tag: &TagResult| index.is_some_and(|index| index.descriptor.digest == tag.new);
    let documents: BTreeMap<Digest, &Document> =
        plan.documents().map(|document| (document.descriptor.digest, document)).collect();
    let mut absent = index.filter(|index| !there.contains(&index.descriptor.digest));
    for (step, tag) in steps.iter().zip(&report.tags.clone()) {
        if names_index(tag)
            && let Some(index) = absent.take()
        {
            put_manifest(index, plan, registry, &mut report).await?;
        }
        let document = documents.get(&step.target).ok_or_else(|| step.unknown_target())?;
        if !plan.dry_run && tag.old != Some(step.target) {
            put_tag(step, document, plan, registry, tag.old, names_index(tag)).await?;
            registry.say(Event::Tagged { tag: step.tag.clone(), digest: step.target });
        }
    }
    if let Some(index) = absent {
        put_manifest(index, plan, registry, &mut report).await?;
    }
    report.requests = registry.requests();
    report.bytes = registry.bytes_sent();
    Ok(report)
}

/// Whether the plan's tags may be put: [`push`] finds it out before it sends anything, this before it is begun.
///
/// # Errors
///
/// [`ErrorKind::TagExists`]; the errors of the registry.
pub async fn check_tags(plan: &PushPlan, registry: &Registry) -> Result<(), Error> {
    present_tags(plan, &check::in_order(plan), registry).await.map(drop)
}

/// What the tags name now, before anything is changed.
async fn present_tags(plan: &PushPlan, steps: &[&TagStep], registry: &Registry) -> Result<Vec<TagResult>, Error> {
    let mut tags = Vec::new();
    for step in steps {
        let old = registry.head_manifest(&step.tag).await?.map(|found| found.digest);
        refuse_another(step, old, registry)?;
        if old.is_some_and(|old| old != step.target) {
            refuse_other_form(step, plan, registry).await?;
        }
        tags.push(TagResult { tag: step.tag.clone(), old, new: step.target });
    }
    Ok(tags)
}

fn refuse_another(step: &TagStep, old: Option<Digest>, registry: &Registry) -> Result<(), Error> {
    match old.filter(|old| step.rule == TagRule::Immutable && *old != step.target) {
        None => Ok(()),
        Some(old) => Err(Error::tag_exists(format!("{}:{}", registry.repository(), step.tag), old, step.target)),
    }
}

/// What moves stays what it is: a tag of an image never names a SIF.
async fn refuse_other_form(step: &TagStep, plan: &PushPlan, registry: &Registry) -> Result<(), Error> {
    let is_sif = |bytes: &[u8]| Parsed::parse("", bytes).ok().map(|document| document.is_sif());
    let own = plan.documents().find(|document| document.descriptor.digest == step.target);
    let Some(wants_sif) = own.and_then(|document| is_sif(&document.bytes)) else { return Ok(()) };
    let (descriptor, bytes) = match registry.manifest(&step.tag).await {
        // It may be gone by now.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    if is_sif(&bytes).is_none_or(|is_sif| is_sif == wants_sif) {
        return Ok(());
    }
    let (present, wanted) = if wants_sif { ("an image", "a SIF") } else { ("a SIF", "an image") };
    let name = format!("{}:{}", registry.repository(), step.tag);
    let error = Error::tag_exists(name, format!("{present} ({})", descriptor.digest), wanted);
    Err(error.with_hint("choose another tag or repository, or set `sif-tag-prefix`"))
}

/// The image manifests, and the index, that the registry has: a tag names them now, or it says so.
async fn documents_there(plan: &PushPlan, tags: &[TagResult], registry: &Registry) -> Result<BTreeSet<Digest>, Error> {
    let mut there: BTreeSet<Digest> = tags.iter().filter_map(|tag| tag.old).collect();
    for document in plan.documents() {
        let digest = document.descriptor.digest;
        if !there.contains(&digest) && registry.head_manifest(&digest.to_string()).await?.is_some() {
            there.insert(digest);
        }
    }
    Ok(there)
}

/// Puts a manifest under its digest and reads it back.
async fn put_manifest(
    document: &Document,
    plan: &PushPlan,
    registry: &Registry,
    report: &mut PushReport,
) -> Result<(), Error> {
    let Document { descriptor, .. } = document;
    report.manifests.push(descriptor.digest);
    if plan.dry_run {
        return Ok(());
    }
    put(&descriptor.digest.to_string(), document, plan, registry).await?;
    let found = read_back(&descriptor.digest.to_string(), &descriptor.digest, registry).await?;
    // The digest is right, or it would be an error; a registry that changed the type makes it another image.
    if found.media_type != descriptor.media_type {
        let what = format!("manifest {} of {}", descriptor.digest, registry.repository());
        let found = format!("the registry serves it as {}", found.media_type);
        return Err(Error::mismatch(what, descriptor.digest, found));
    }
    Ok(())
}

/// Puts a document. Where a blob of it is missing, all are asked for again: the registry cleaned up what it had when it was asked, or
/// was believed to have.
async fn put(reference: &str, document: &Document, plan: &PushPlan, registry: &Registry) -> Result<(), Error> {
    let Document { descriptor, bytes } = document;
    if registry.put(reference, descriptor, bytes).await? == Put::Done {
        return Ok(());
    }
    let nothing_known = PushPlan { arrived: BTreeMap::new(), seen: BTreeMap::new(), ..plan.clone() };
    blobs::Blobs::of(&plan.images).transfer(&nothing_known, registry, &mut PushReport::default()).await?;
    if registry.put(reference, descriptor, bytes).await? == Put::Done {
        return Ok(());
    }
    let found = "the registry says that it names what is not there, although it confirmed all of it";
    let what = format!("manifest {} of {}", descriptor.digest, registry.repository());
    Err(Error::mismatch(what, descriptor.digest, found))
}

/// Moves a tag from `old` and looks where it is then. Gitea 1.25.0 answered 201 and left it where it was (gitea#35853).
async fn put_tag(
    step: &TagStep,
    document: &Document,
    plan: &PushPlan,
    registry: &Registry,
    old: Option<Digest>,
    whole: bool,
) -> Result<(), Error> {
    if step.rule == TagRule::Immutable {
        // Somebody else may have published the same version while we sent blobs.
        let now = registry.head_manifest(&step.tag).await?.map(|found| found.digest);
        refuse_another(step, now, registry)?;
    }
    put(&step.tag, document, plan, registry).await?;
    let found = if whole {
        Some(read_back(&step.tag, &step.target, registry).await?.digest)
    } else {
        registry.head_manifest(&step.tag).await?.map(|found| found.digest)
    };
    let overtaken = |found: Digest| step.rule != TagRule::Immutable && Some(found) != old;
    let found = match found {
        Some(found) if found == step.target => return Ok(()),
        // Another publisher moved it after us.
        Some(found) if overtaken(found) => return Ok(()),
        Some(found) => format!("the registry confirmed it and has {found}"),
        None => "the registry confirmed it and does not have it".into(),
    };
    Err(Error::mismatch(format!("{}:{}", registry.repository(), step.tag), step.target, found))
}

/// Fetches what the registry just confirmed: one that says yes and stores nothing does not get a tag.
async fn read_back(reference: &str, expected: &Digest, registry: &Registry) -> Result<Descriptor, Error> {
    match registry.manifest(reference).await {
        Ok((found, _)) => Ok(found),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = format!("{reference} of {}", registry.repository());
            Err(Error::mismatch(what, *expected, "the registry confirmed it and does not have it"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
