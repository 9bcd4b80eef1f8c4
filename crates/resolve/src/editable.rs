//! Which directories the manifest wants installed as editable. Lock files do not say.

use std::collections::BTreeSet;

use crate::{Error, LockedPlatform, Workspace};

impl Workspace {
    /// The PEP 503 names of an environment's `pypi-dependencies` with `editable = true`. Of several features that name a
    /// package, the first wins, as everywhere in pixi.
    pub fn editable_dependencies(
        &self,
        environment: &str,
        platform: &LockedPlatform,
    ) -> Result<BTreeSet<String>, Error> {
        let (mut seen, mut editable) = (BTreeSet::new(), BTreeSet::new());
        for feature in self.features_of(environment)? {
            for requirement in feature.requirements_for(&platform.name, platform.subdir.as_str())?.pypi {
                if seen.insert(requirement.name.clone()) && requirement.is_editable() {
                    editable.insert(requirement.name);
                }
            }
        }
        Ok(editable)
    }
}
