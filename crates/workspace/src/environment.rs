//! What a workspace says about an environment: activation, tasks, system requirements, composed of features as pixi does.

use std::collections::BTreeSet;

use crate::{
    Error, VirtualPackage,
    manifest::{DEFAULT_ENVIRONMENT, EnvironmentManifest, Feature, Workspace},
    platform::{ManifestPlatform, TargetPlatform, name_with},
    task::TaskArgv,
};

/// What is done when an environment is activated, beyond what its packages bring themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    /// Scripts to source, in this order, as written: relative to the workspace's root.
    pub scripts: Vec<String>,
    /// Variables to set, in this order; no name twice. Values are as written: `$NAME` is not expanded.
    pub env: Vec<(String, String)>,
}

impl Workspace {
    /// The environment of that name. `default` exists even if the manifest does not mention it.
    pub fn environment(&self, name: &str) -> Result<&EnvironmentManifest, Error> {
        self.environments.get(name).ok_or_else(|| Error::UnknownEnvironment {
            path: self.manifest_path.clone(),
            name: name.to_owned(),
            known: self.environments.keys().cloned().collect(),
        })
    }

    /// The environment's features in pixi's order of precedence: its own tables, the features it lists, the default one.
    ///
    /// A listed feature without tables is empty: in `pyproject.toml` dependency groups make such features.
    pub fn features_of(&self, environment: &str) -> Result<Vec<&Feature>, Error> {
        let environment = self.environment(environment)?;
        let listed = environment.features.iter().map(String::as_str).filter(|name| *name != DEFAULT_ENVIRONMENT);
        let last = (!environment.no_default_feature).then_some(DEFAULT_ENVIRONMENT);
        let named = listed.chain(last).filter_map(|name| self.features.get(name));
        Ok(environment.own.iter().chain(named).collect())
    }

    /// Scripts and variables of an environment on a platform.
    ///
    /// As in pixi, a feature's scripts are those of its most specific matching `[target]` that has any (they replace, not
    /// extend), while variables are merged, the most specific value winning; of several features the first wins.
    pub fn activation(&self, environment: &str, platform: TargetPlatform<'_>) -> Result<Activation, Error> {
        let mut activation = Activation::default();
        for feature in self.features_of(environment)? {
            let scripts = feature.targets_for(platform).find_map(|target| target.scripts.as_ref());
            activation.scripts.extend(scripts.into_iter().flatten().cloned());
            for (name, value) in feature.targets_for(platform).flat_map(|target| &target.env) {
                if !activation.env.iter().any(|(known, _)| known == name) {
                    activation.env.push((name.clone(), value.clone()));
                }
            }
        }
        Ok(activation)
    }

    /// A task as a plain command: no other tasks before it, no shell syntax.
    pub fn task(&self, environment: &str, platform: TargetPlatform<'_>, name: &str) -> Result<TaskArgv, Error> {
        let features = self.features_of(environment)?;
        let mut targets = features.iter().flat_map(|feature| feature.targets_for(platform));
        let found = targets.find_map(|target| target.tasks.get(name));
        let error = |message| Error::Task { task: name.to_owned(), environment: environment.to_owned(), message };
        found.ok_or_else(|| error("does not exist".to_owned()))?.to_argv().map_err(error)
    }

    /// What `[system-requirements]` of the environment's features demand of the target, as virtual packages.
    pub fn system_requirements(&self, environment: &str) -> Result<Vec<VirtualPackage>, Error> {
        let features = self.features_of(environment)?;
        Ok(VirtualPackage::unite(features.iter().flat_map(|feature| &feature.system_requirements)))
    }

    /// The PEP 503 names of an environment's `pypi-dependencies` with `editable = true`. Of several features that name a
    /// package, the first wins, as everywhere in pixi.
    pub fn editable_dependencies(
        &self,
        environment: &str,
        platform: TargetPlatform<'_>,
    ) -> Result<BTreeSet<String>, Error> {
        let (mut seen, mut editable) = (BTreeSet::new(), BTreeSet::new());
        for feature in self.features_of(environment)? {
            for requirement in feature.requirements_for(platform)?.pypi {
                if seen.insert(requirement.name.clone()) && requirement.is_editable() {
                    editable.insert(requirement.name);
                }
            }
        }
        Ok(editable)
    }

    pub fn solve_group(&self, group: &str) -> Vec<&str> {
        let members = self.environments.iter().filter(|(_, e)| e.solve_group.as_deref() == Some(group));
        members.map(|(name, _)| name.as_str()).collect()
    }

    /// The platforms an environment is for: those that all its features are for.
    ///
    /// A feature can name a platform or its subdir. Where one names a platform exactly, the others of that subdir are
    /// out, as in pixi.
    pub fn environment_platforms(&self, environment: &str) -> Result<Vec<ManifestPlatform>, Error> {
        let mut lists = Vec::new();
        for feature in self.features_of(environment)? {
            lists.extend(feature.options.get()?.platforms.as_ref());
        }
        let has = |list: &[ManifestPlatform], name: &str| list.iter().any(|platform| platform.name == name);
        let is_named = |platform: &ManifestPlatform| lists.iter().any(|list| has(list, &platform.name));
        let named: Vec<&str> =
            self.platforms.iter().filter(|p| is_named(p)).map(|platform| platform.subdir.as_str()).collect();
        let fits = |platform: &&ManifestPlatform| {
            lists.iter().all(|list| has(list, &platform.name) || has(list, &platform.subdir))
                && (is_named(platform) || !named.contains(&platform.subdir.as_str()))
        };
        Ok(self.platforms.iter().filter(fits).cloned().collect())
    }

    /// What pixi calls the platforms of an environment, sorted (it has no order of its own): as they are declared, or
    /// where `[system-requirements]` say more, composed of subdir and requirements.
    pub fn platform_names(&self, environment: &str) -> Result<Vec<String>, Error> {
        let platforms = self.environment_platforms(environment)?;
        let requirements = self.system_requirements(environment)?;
        let is_rich = self.platforms.iter().any(|p| p.name != p.subdir || !p.virtual_packages.is_empty());
        let mut names: Vec<String> = platforms
            .into_iter()
            .map(|platform| if is_rich { platform.name } else { name_with(&platform.subdir, &requirements) })
            .collect();
        names.sort();
        Ok(names)
    }
}
