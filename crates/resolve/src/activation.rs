//! What a workspace says about an environment: activation, tasks, system requirements, composed of features as pixi does.

use crate::{
    EnvironmentManifest, Error, Feature, LockedPlatform, TaskArgv, VirtualPackage, Workspace, feature::DEFAULT,
    system_requirements,
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
    pub(crate) fn features_of(&self, environment: &str) -> Result<Vec<&Feature>, Error> {
        let environment = self.environment(environment)?;
        let listed = environment.features.iter().map(String::as_str).filter(|name| *name != DEFAULT);
        let last = (!environment.no_default_feature).then_some(DEFAULT);
        let named = listed.chain(last).filter_map(|name| self.features.get(name));
        Ok(environment.own.iter().chain(named).collect())
    }

    /// Scripts and variables of an environment on a platform.
    ///
    /// As in pixi, a feature's scripts are those of its most specific matching `[target]` that has any (they replace, not
    /// extend), while variables are merged, the most specific value winning; of several features the first wins.
    pub fn activation(&self, environment: &str, platform: &LockedPlatform) -> Result<Activation, Error> {
        let mut activation = Activation::default();
        for feature in self.features_of(environment)? {
            let scripts = feature
                .targets_for(&platform.name, platform.subdir.as_str())
                .find_map(|target| target.scripts.as_ref());
            activation.scripts.extend(scripts.into_iter().flatten().cloned());
            for (name, value) in
                feature.targets_for(&platform.name, platform.subdir.as_str()).flat_map(|target| &target.env)
            {
                if !activation.env.iter().any(|(known, _)| known == name) {
                    activation.env.push((name.clone(), value.clone()));
                }
            }
        }
        Ok(activation)
    }

    /// A task as a plain command: no other tasks before it, no shell syntax.
    pub fn task(&self, environment: &str, platform: &LockedPlatform, name: &str) -> Result<TaskArgv, Error> {
        let features = self.features_of(environment)?;
        let mut targets =
            features.iter().flat_map(|feature| feature.targets_for(&platform.name, platform.subdir.as_str()));
        let found = targets.find_map(|target| target.tasks.get(name));
        let error = |message| Error::Task { task: name.to_owned(), environment: environment.to_owned(), message };
        found.ok_or_else(|| error("does not exist".to_owned()))?.to_argv().map_err(error)
    }

    /// What `[system-requirements]` of the environment's features demand of the target, as virtual packages.
    pub fn system_requirements(&self, environment: &str) -> Result<Vec<VirtualPackage>, Error> {
        let features = self.features_of(environment)?;
        Ok(system_requirements::unite(features.iter().flat_map(|feature| &feature.system_requirements)))
    }
}
