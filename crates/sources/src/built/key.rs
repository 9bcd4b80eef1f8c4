//! Under what a wheel is kept: the hash of everything that it depends on.

use pixi_oci_lock::{LockedPackage, Sha256};
use sha2::Digest as _;

use super::{
    BuildError, Builds, Pending,
    conversation::DRIVER,
    host::{Host, system},
    tree::SourceTar,
};
use crate::SourceError;
use pixi_oci_pipeline::LAYER_TIME;
use pixi_oci_project::BuildPlace;

impl Builds<'_> {
    pub(super) fn epoch(&self) -> i64 {
        self.means.project.inputs.provenance.epoch.unwrap_or(LAYER_TIME)
    }

    /// Where the environment is when a build runs in it.
    pub(super) fn prefix(&self) -> String {
        match self.place {
            BuildPlace::Container => self.means.tools.configuration.prefix.as_str().to_owned(),
            BuildPlace::Host => Host::prefix_in(&self.cache.host_directory()).to_string_lossy().into_owned(),
        }
    }

    /// What is around the environment, and in what a build finds: the digest of the base image, if it is known, or this
    /// machine's system and whether there is a network. So nothing that was built on a machine is ever taken for what a
    /// container makes.
    pub(super) fn surroundings(&self, source: &Pending, index: usize) -> Result<Option<String>, SourceError> {
        if self.place == BuildPlace::Host {
            return Ok(Some(format!("host, alone: {}, {}", self.alone, system())));
        }
        match self.known.get(&index).and_then(|known| known.base.as_ref()) {
            None => Ok(None),
            Some(Some(digest)) => Ok(Some(digest.clone())),
            Some(None) => Err(BuildError::Scratch { package: source.name.clone() }.into()),
        }
    }

    /// The hash of everything that a wheel depends on; of what is `pinned` the environment may have a part already.
    pub(super) fn key(&self, tar: &SourceTar, index: usize, surroundings: &str, pinned: &[LockedPackage]) -> String {
        let target = &self.means.tools.targets[index];
        let mut packages: Vec<String> = target
            .packages
            .iter()
            .chain(pinned)
            .map(|package| match package.sha256() {
                Some(sha256) => sha256.to_string(),
                None => package.name(),
            })
            .collect();
        packages.sort();
        let order = serde_json::to_string(&tar.order).unwrap_or_default();
        let parts = [
            "pixi-oci wheel 1".to_owned(),
            DRIVER.to_owned(),
            tar.diff_id.clone(),
            order,
            surroundings.to_owned(),
            self.prefix(),
            target.platform.subdir.to_string(),
            self.epoch().to_string(),
            packages.join(","),
        ];
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Sha256::from_bytes(hasher.finalize().into()).to_string()
    }
}
