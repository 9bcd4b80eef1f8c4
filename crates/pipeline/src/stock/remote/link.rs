//! Layers that stay where they are: at the repositories that are published to, or at their registry.

use std::collections::BTreeMap;

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::{Access, Arrival, Error as RegistryError, Mount, Registry, Repository, push::MountFrom};

use super::{AtTargets, Published};

/// What went wrong, and where.
type Failed = (Repository, RegistryError);

impl Published {
    /// Whether all repositories that are published to have the layer, or get it from another repository of their registry.
    /// Each is asked once in a run.
    pub(super) async fn is_at_all_targets(&self, blob: &Descriptor) -> Result<bool, Failed> {
        let targets = self.targets.get_or_try_init(|| self.connect_targets()).await?;
        for target in targets {
            let here = (target.repository().clone(), blob.digest);
            if self.seen(|seen| seen.arrived.contains_key(&here)) {
                continue;
            }
            let how = if target.has_blob(blob).await.map_err(|error| (here.0.clone(), error))? {
                Arrival::Present
            } else if self.link(blob, target, targets).await? {
                Arrival::Mounted
            } else {
                return Ok(false);
            };
            self.seen(|seen| seen.arrived.insert(here, how));
        }
        Ok(true)
    }

    async fn connect_targets(&self) -> Result<Vec<Registry>, Failed> {
        let access = if self.options.may_mount { Access::Push } else { Access::Pull };
        let mut targets = Vec::new();
        for remote in &self.options.to {
            targets.push(self.connect(remote, access).await.map_err(|error| (remote.repository.clone(), error))?);
        }
        Ok(targets)
    }

    /// Has the registry link the layer to `target` from another of its repositories that has it.
    async fn link(&self, blob: &Descriptor, target: &Registry, targets: &[Registry]) -> Result<bool, Failed> {
        let to = target.repository();
        let same = |from: &&Registry| from.repository().host() == to.host() && from.repository() != to;
        for from in self.sources().iter().chain(targets).filter(same) {
            let pair = (to.clone(), from.repository().clone());
            if self.seen(|seen| seen.refused.contains(&pair)) {
                continue;
            }
            // One that is not ours to read has no layers for us; the registry itself is fine.
            let linked = match from.has_blob(blob).await {
                Ok(false) => continue,
                Ok(true) => !self.options.may_mount || mount(blob, target, from).await?,
                Err(_) => false,
            };
            if linked {
                return Ok(true);
            }
            self.seen(|seen| seen.refused.insert(pair));
        }
        Ok(false)
    }

    fn seen<T>(&self, look: impl FnOnce(&mut AtTargets) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The layers that a repository was seen to have in this run, and how they came; if nothing may be written, also those that
    /// would be linked.
    pub fn arrived(&self, repository: &Repository) -> BTreeMap<Digest, Arrival> {
        let at = |((to, digest), how): (&(Repository, Digest), &Arrival)| (to == repository).then_some((*digest, *how));
        self.seen(|seen| seen.arrived.iter().filter_map(at).collect())
    }

    /// From where a repository may get blobs without their being sent: the images of its registry whose layers are taken.
    pub fn mount_from(&self, repository: &Repository) -> Vec<MountFrom> {
        let from = self.options.from.iter().map(|remote| &remote.repository);
        // What is only thought of is in the plan, so that a dry run does not look for the files of layers.
        let linked = |(digest, how)| (how == Arrival::Mounted).then_some(digest);
        let thought_of =
            (!self.options.may_mount).then(|| self.arrived(repository).into_iter().filter_map(linked).collect());
        let to = self.options.to.iter().map(|remote| &remote.repository).filter(|_| thought_of.is_some());
        let same = from.chain(to).filter(|other| other.host() == repository.host() && *other != repository);
        same.map(|other| MountFrom { path: other.path().to_owned(), blobs: thought_of.clone() }).collect()
    }
}

/// Whether the registry did it, and not only said so. An upload that it opened instead is left to it: this is tried once
/// for each pair of repositories.
async fn mount(blob: &Descriptor, target: &Registry, from: &Registry) -> Result<bool, Failed> {
    let failed = |error| (target.repository().clone(), error);
    match target.mount(blob, from.repository().path()).await.map_err(failed)? {
        Mount::Mounted => target.has_blob(blob).await.map_err(failed),
        Mount::Open(_) | Mount::No => Ok(false),
    }
}
