//! How the blobs of all architectures come to a repository: each once, three at a time.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;

use super::plan::{MountFrom, PushImage, PushPlan, PushReport};
use crate::{
    client::{BlobSource, Mount, Registry},
    error::{Error, ErrorKind},
    event::{Arrival, Event},
};

/// So many blobs are on their way at once. More makes Gitea fail (gitea#21822, gitea#33646), and Docker takes three.
pub(super) const PARALLEL: usize = 3;

pub(super) struct Blobs<'a> {
    layers: Vec<Blob<'a>>,
    configs: Vec<Blob<'a>>,
}

pub(super) struct Blob<'a> {
    pub(super) descriptor: &'a Descriptor,
    pub(super) source: Option<BlobSource<'a>>,
}

impl<'a> Blobs<'a> {
    /// Those of images, each once, however many of them name it.
    pub(super) fn of(images: impl IntoIterator<Item = &'a PushImage>) -> Self {
        let images: Vec<&PushImage> = images.into_iter().collect();
        let mut seen = BTreeSet::new();
        let mut layers: Vec<Blob<'a>> = Vec::new();
        for layer in images.iter().flat_map(|image| &image.layers) {
            let source = layer.source.as_deref().map(BlobSource::File);
            if seen.insert(layer.descriptor.digest) {
                layers.push(Blob { descriptor: &layer.descriptor, source });
            } else if let Some(known) = layers.iter_mut().find(|blob| blob.descriptor.digest == layer.descriptor.digest)
            {
                // One image may know where the file is and another not.
                known.source = known.source.take().or(source);
            }
        }
        let configs = images.iter().map(|image| &image.config).filter(|config| seen.insert(config.descriptor.digest));
        let configs = configs
            .map(|config| Blob { descriptor: &config.descriptor, source: Some(BlobSource::Bytes(&config.bytes)) });
        Self { layers, configs: configs.collect() }
    }

    /// Notes of all that are not in the report yet that they are there, without asking.
    pub(super) fn are_present(&self, plan: &PushPlan, registry: &Registry, report: &mut PushReport) {
        let PushReport { uploaded, mounted, present, .. } = &*report;
        let known: BTreeSet<Digest> = uploaded.iter().chain(mounted).chain(present).copied().collect();
        for Blob { descriptor, .. } in self.layers.iter().chain(&self.configs) {
            if !known.contains(&descriptor.digest) {
                let how = came(descriptor, plan, registry).unwrap_or_else(|| {
                    say(descriptor, Arrival::Present, registry);
                    Arrival::Present
                });
                report.note(descriptor.digest, how);
            }
        }
    }

    /// Sees that all are there: layers first, then configurations. Those of which the plan knows how they came are not asked for
    /// again. The report gets what is new in it.
    pub(super) async fn transfer(
        &self,
        plan: &PushPlan,
        registry: &Registry,
        report: &mut PushReport,
    ) -> Result<(), Error> {
        let from = candidates(&plan.mount_from, registry);
        for blobs in [&self.layers, &self.configs] {
            let arrivals: Vec<Arrival> = stream::iter(blobs)
                .map(async |blob| match came(blob.descriptor, plan, registry) {
                    Some(how) => Ok(how),
                    None => arrive(blob, &from, registry, plan.dry_run).await,
                })
                .buffered(PARALLEL)
                .try_collect()
                .await?;
            for (blob, how) in blobs.iter().zip(arrivals) {
                report.note(blob.descriptor.digest, how);
            }
        }
        Ok(())
    }
}

/// How a blob came that was looked up in this run before.
fn came(blob: &Descriptor, plan: &PushPlan, registry: &Registry) -> Option<Arrival> {
    let arrived = plan.arrived.get(&blob.digest).copied();
    arrived.or_else(|| {
        let how = *plan.seen.get(&blob.digest)?;
        if how == Arrival::Present || !plan.dry_run {
            say(blob, how, registry);
        }
        Some(how)
    })
}

fn say(blob: &Descriptor, how: Arrival, registry: &Registry) {
    registry.say(Event::BlobDone { blob: blob.digest, size: blob.size, how });
}

pub(super) struct Candidate<'a> {
    from: &'a MountFrom,
    /// It is not there, or not ours to read: it is not asked again.
    useless: AtomicBool,
}

/// All but the repository itself.
pub(super) fn candidates<'f>(from: &'f [MountFrom], registry: &Registry) -> Vec<Candidate<'f>> {
    let others = from.iter().filter(|from| from.path != registry.repository().path());
    others.map(|from| Candidate { from, useless: AtomicBool::new(false) }).collect()
}

impl Candidate<'_> {
    fn may_have(&self, blob: &Descriptor) -> bool {
        let known = self.from.blobs.as_ref();
        !self.useless.load(Ordering::Relaxed) && known.is_none_or(|blobs| blobs.contains(&blob.digest))
    }

    /// What it is known to have would be linked, and need not be on this machine.
    fn is_known_to_have(&self, blob: &Descriptor) -> bool {
        self.from.blobs.as_ref().is_some_and(|blobs| blobs.contains(&blob.digest))
    }
}

/// Sees that a blob is there, and says how it came.
pub(super) async fn arrive(
    blob: &Blob<'_>,
    from: &[Candidate<'_>],
    registry: &Registry,
    dry_run: bool,
) -> Result<Arrival, Error> {
    let Blob { descriptor, source } = *blob;
    if registry.has_blob(descriptor).await? {
        say(descriptor, Arrival::Present, registry);
        return Ok(Arrival::Present);
    }
    if dry_run && from.iter().any(|candidate| candidate.is_known_to_have(descriptor)) {
        return Ok(Arrival::Mounted);
    }
    let (mut how, mut open) = (Arrival::Uploaded, None);
    for candidate in from.iter().filter(|candidate| !dry_run && candidate.may_have(descriptor)) {
        match registry.mount(descriptor, &candidate.from.path).await? {
            // Old Giteas say yes and do nothing.
            Mount::Mounted if registry.has_blob(descriptor).await? => {
                how = Arrival::Mounted;
                break;
            }
            Mount::Mounted | Mount::No => candidate.useless.store(true, Ordering::Relaxed),
            Mount::Open(upload) => open = Some(upload),
        }
    }
    if how == Arrival::Uploaded {
        let source = source.ok_or_else(|| {
            Error::new(
                ErrorKind::NoSource,
                registry.repository().to_string(),
                format!("blob {}", descriptor.digest),
                "",
            )
        })?;
        if !dry_run {
            registry.put_blob(descriptor, source, open).await?;
        }
    }
    if !dry_run {
        say(descriptor, how, registry);
    }
    Ok(how)
}
