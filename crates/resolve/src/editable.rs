//! Which directories the manifest wants installed as editable. Lock files do not say.

use std::collections::BTreeSet;

use pep508_rs::PackageName;

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
            for target in feature.targets_for(platform) {
                let Some(table) = target.pypi_dependencies.as_ref().and_then(|item| item.as_table_like()) else {
                    continue;
                };
                for (name, requirement) in table.iter() {
                    // What is no name of a package is pixi's to complain of.
                    let Ok(name) = name.parse::<PackageName>() else { continue };
                    let wanted = requirement.get("editable").and_then(toml_edit::Item::as_bool).unwrap_or(false);
                    if seen.insert(name.to_string()) && wanted {
                        editable.insert(name.to_string());
                    }
                }
            }
        }
        Ok(editable)
    }
}
