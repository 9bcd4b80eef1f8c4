//! Blobs that a registry has in another of its repositories, and need not be sent.

use std::collections::BTreeSet;

use pixi_oci_layer::Digest;
use pixi_oci_registry::{Repository, RepositoryRef, push::MountFrom};
use pixi_oci_store::base::BaseRef;

use super::pushed::Pushed;
use pixi_oci_pipeline::{BuildReport, ImageReport, LayerKind, Published};

pub type Bases = Vec<(String, Vec<Digest>)>;

/// What is known of the blobs of a publication and of where they are.
pub struct Mountable<'a> {
    /// Repositories that are served by now, with what they got.
    pub served: &'a [(Repository, Vec<Digest>)],
    pub remote: Option<&'a Published>,
    pub bases: &'a [(String, Vec<Digest>)],
    /// What this machine has sent before.
    pub sent: &'a Pushed,
    pub blobs: &'a [Digest],
}

impl Mountable<'_> {
    /// The repositories of the same registry that blobs may be linked from.
    pub fn from(&self, to: &Repository) -> Vec<MountFrom> {
        let same_host = self.served.iter().filter(|(other, _)| other.host() == to.host() && other != to);
        let whole = |(other, blobs): &(Repository, Vec<Digest>)| MountFrom {
            path: other.path().into(),
            blobs: Some(blobs.iter().copied().collect()),
        };
        let mut from: Vec<MountFrom> = same_host.map(whole).collect();
        from.extend(self.remote.iter().flat_map(|remote| remote.mount_from(to)));
        from.extend(self.bases.iter().filter_map(|(reference, layers)| of_base(reference, layers, to)));
        let all: BTreeSet<Digest> = self.blobs.iter().copied().collect();
        let is_asked = |from: &MountFrom| from.blobs.as_ref().is_none_or(|blobs| blobs.is_superset(&all));
        let asked: Vec<String> = from.iter().filter(|from| is_asked(from)).map(|from| from.path.clone()).collect();
        let notes = self.sent.mount_from(to, self.blobs);
        from.extend(notes.into_iter().filter(|from| !asked.contains(&from.path)));
        from
    }
}

/// The base images of a build, with their layers.
pub fn bases(build: Option<&BuildReport>) -> Bases {
    let of_image = |image: &ImageReport| {
        let layers = image.layers.iter().filter(|layer| layer.kind == LayerKind::Base);
        Some((image.base.as_ref()?.reference.clone(), layers.map(|layer| layer.digest).collect()))
    };
    build.iter().flat_map(|build| &build.images).filter_map(of_image).collect()
}

fn of_base(reference: &str, layers: &[Digest], to: &Repository) -> Option<MountFrom> {
    let path = path_of(&BaseRef::parse(reference).ok()?, to)?;
    Some(MountFrom { path, blobs: Some(layers.iter().copied().collect()) })
}

/// Where a base image is in the registry of a repository, if it is there.
pub fn path_of(base: &BaseRef, to: &Repository) -> Option<String> {
    let BaseRef::Registry(base) = base else { return None };
    let base: RepositoryRef = base.to_string().parse().ok()?;
    (base.repository.host() == to.host()).then(|| base.repository.path().to_owned())
}
