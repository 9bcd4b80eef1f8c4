//! Layers that stay where they are: at the repositories that are published to, or at their registry.

use std::collections::BTreeSet;

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::{Access, Error as RegistryError, Mount, Registry, Repository, push::MountFrom};

use super::{Links, Published};

/// What went wrong, and where.
type Failed = (Repository, RegistryError);

impl Published {
    /// Whether all repositories that are published to have the layer, or get it from another repository of their registry.
    pub(super) async fn is_at_all_targets(&self, blob: &Descriptor) -> Result<bool, Failed> {
        let targets = self.targets.get_or_try_init(|| self.connect_targets()).await?;
        for target in targets {
            let there = target.has_blob(blob).await.map_err(|error| (target.repository().clone(), error))?;
            if !there && !self.link(blob, target, targets).await? {
                return Ok(false);
            }
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
            if self.links(|links| links.refused.contains(&pair)) {
                continue;
            }
            // One that is not ours to read has no layers for us; the registry itself is fine.
            let linked = match from.has_blob(blob).await {
                Ok(false) => continue,
                Ok(true) => !self.options.may_mount || mount(blob, target, from).await?,
                Err(_) => false,
            };
            self.links(|links| match linked {
                true => links.made.insert((to.clone(), blob.digest)),
                false => links.refused.insert(pair),
            });
            if linked {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn links<T>(&self, look: impl FnOnce(&mut Links) -> T) -> T {
        look(&mut self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The layers that are in a repository by a link of this run; if nothing may be written, those that would be.
    pub fn linked(&self, repository: &Repository) -> BTreeSet<Digest> {
        self.links(|links| links.made.iter().filter(|(to, _)| to == repository).map(|(_, digest)| *digest).collect())
    }

    /// From where a repository may get blobs without their being sent: the images of its registry whose layers are taken.
    pub fn mount_from(&self, repository: &Repository) -> Vec<MountFrom> {
        let from = self.options.from.iter().map(|remote| &remote.repository);
        // What is only thought of is in the plan, so that a dry run does not look for the files of layers.
        let thought_of = (!self.options.may_mount).then(|| self.linked(repository));
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
