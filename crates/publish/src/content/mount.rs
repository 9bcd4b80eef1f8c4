//! Blobs that a registry has in another of its repositories, and need not be sent.

use std::collections::BTreeSet;

use pixi_oci_layer::Digest;
use pixi_oci_registry::{
    Repository, RepositoryRef,
    push::{MountFrom, PushReport},
};
use pixi_oci_store::base::BaseRef;

use crate::content::Payload;
use pixi_oci_pipeline::{ImageReport, LayerKind};

/// The base images that are in the same registry, with their layers.
pub fn base(content: &Payload<'_>, to: &Repository) -> Vec<MountFrom> {
    let images = content.build.iter().flat_map(|build| &build.images);
    images.filter_map(|image| of_image(image, to)).collect()
}

fn of_image(image: &ImageReport, to: &Repository) -> Option<MountFrom> {
    let Ok(BaseRef::Registry(base)) = BaseRef::parse(&image.base.as_ref()?.reference) else { return None };
    let base: RepositoryRef = base.to_string().parse().ok()?;
    let layers = image.layers.iter().filter(|layer| layer.kind == LayerKind::Base);
    (base.repository.host() == to.host()).then(|| MountFrom {
        path: base.repository.path().to_owned(),
        blobs: Some(layers.map(|layer| layer.digest).collect()),
    })
}

/// Layers that were linked before the build, so that they need not be made, are there when it is pushed.
pub fn with_linked(mut pushed: PushReport, linked: &BTreeSet<Digest>) -> PushReport {
    let (mounted, present) = pushed.present.into_iter().partition(|digest| linked.contains(digest));
    pushed.present = present;
    pushed.mounted.extend::<Vec<Digest>>(mounted);
    pushed
}
