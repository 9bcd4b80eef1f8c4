//! What an environment wants on a platform, composed of its features as pixi does: the input of a solver, and what a
//! lock file is compared with.
//!
//! ```text
//! features of the environment (its own tables, those it lists, the default one last)
//!   each: the part without selector ◀ overwritten by matching [target] parts, later ones over earlier ones
//!         dependencies ◀ overwritten by host-dependencies ◀ by build-dependencies
//! together: every requirement of every feature holds
//! ```

use rattler_solve::{ChannelPriority, SolveStrategy};

use pixi_oci_workspace::{
    Error, ExcludeNewer, Feature, ManifestChannel, ManifestPlatform, PypiOptions, PypiRequirement, Requirement,
    VirtualPackage, Workspace,
};

/// What an environment (or solve group) wants on a platform.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub environment: String,
    pub platform: ManifestPlatform,
    /// Conda packages, in the order of the features. A package can be there several times: all of it holds.
    pub conda: Vec<Requirement>,
    /// What holds for conda packages that something else requires.
    pub constraints: Vec<Requirement>,
    /// Python packages, in the order of the features. A package can be there several times: all of it holds.
    pub pypi: Vec<PypiRequirement>,
    /// Source packages of which only the dependencies are wanted.
    pub dev: Vec<String>,
    pub options: SolveRules,
    pub solve_group: Option<String>,
    /// Everything the target is assumed to have: what pixi assumes of every platform of the subdir, and what the
    /// platform and `[system-requirements]` declare.
    pub virtual_packages: Vec<VirtualPackage>,
}

/// How an environment is solved, beside what it wants.
#[derive(Debug, Clone, Default)]
pub struct SolveRules {
    /// The channels, highest priority first, none twice. Of a solve group: of all its environments.
    pub channels: Vec<ManifestChannel>,
    pub channel_priority: ChannelPriority,
    pub solve_strategy: SolveStrategy,
    pub exclude_newer: ExcludeNewer,
    /// Indexes and the like. Of a solve group: of all its environments.
    pub pypi_options: PypiOptions,
}

/// What an environment wants on a platform.
pub fn wanted(workspace: &Workspace, environment: &str, platform: &ManifestPlatform) -> Result<Wanted, Error> {
    let features = workspace.features_of(environment)?;
    let manifest = workspace.environment(environment)?;
    manifest.features_exist.get()?;
    compose(workspace, environment, &features, manifest.solve_group.clone(), platform)
}

/// What all environments of a solve group want together on a platform. Environments that are not for the platform do
/// not count.
pub fn wanted_by_group(workspace: &Workspace, group: &str, platform: &ManifestPlatform) -> Result<Wanted, Error> {
    let mut features: Vec<&Feature> = Vec::new();
    for environment in workspace.solve_group(group) {
        if workspace.environment_platforms(environment)?.contains(platform) {
            add_new(&mut features, workspace.features_of(environment)?);
        }
    }
    compose(workspace, group, &features, Some(group.to_owned()), platform)
}

fn features_of_group<'w>(workspace: &'w Workspace, group: &str) -> Result<Vec<&'w Feature>, Error> {
    let mut features = Vec::new();
    for environment in workspace.solve_group(group) {
        add_new(&mut features, workspace.features_of(environment)?);
    }
    Ok(features)
}

fn add_new<'w>(features: &mut Vec<&'w Feature>, more: Vec<&'w Feature>) {
    for feature in more {
        if !features.iter().any(|known| std::ptr::eq(*known, feature)) {
            features.push(feature);
        }
    }
}

/// What features want together. Where they are of a solve group, all of its features have a say in where packages come from.
fn compose(
    workspace: &Workspace,
    name: &str,
    features: &[&Feature],
    solve_group: Option<String>,
    platform: &ManifestPlatform,
) -> Result<Wanted, Error> {
    let mut wanted = Wanted {
        environment: name.to_owned(),
        platform: platform.clone(),
        conda: Vec::new(),
        constraints: Vec::new(),
        pypi: Vec::new(),
        dev: Vec::new(),
        options: SolveRules::default(),
        solve_group,
        virtual_packages: virtual_packages(features, platform),
    };
    let (mut priority, mut strategy) = (None, None);
    for feature in features {
        let options = feature.options.get()?;
        if let (Some(one), Some(other)) = (priority, options.channel_priority)
            && one != other
        {
            let message = "its features want different values of `channel-priority`".to_owned();
            let path = workspace.manifest_path.clone();
            return Err(Error::Environment { path, environment: name.to_owned(), message });
        }
        priority = priority.or(options.channel_priority);
        strategy = strategy.or(options.solve_strategy);
        let parts = feature.requirements_for(platform.target())?;
        wanted.conda.extend(parts.conda);
        wanted.constraints.extend(parts.constraints);
        wanted.pypi.extend(parts.pypi);
        wanted.dev.extend(parts.dev);
    }
    let shared = match &wanted.solve_group {
        Some(group) => features_of_group(workspace, group)?,
        None => features.to_vec(),
    };
    let channels = channels(workspace, &shared)?;
    wanted.options = SolveRules {
        exclude_newer: exclude_newer(workspace, &channels)?,
        pypi_options: pypi_options(name, workspace, &shared)?,
        channel_priority: priority.unwrap_or_default(),
        solve_strategy: strategy.unwrap_or_default(),
        channels,
    };
    Ok(wanted)
}

fn channels(workspace: &Workspace, features: &[&Feature]) -> Result<Vec<ManifestChannel>, Error> {
    let shared = workspace.solving.get()?;
    let mut all = Vec::new();
    for feature in features {
        all.extend(feature.options.get()?.channels.as_ref().unwrap_or(&shared.channels));
    }
    Ok(ManifestChannel::prioritized(all.into_iter()))
}

/// A feature's own options count, or else those of the workspace; pixi has no answer for features that contradict one
/// another, either.
fn pypi_options(name: &str, workspace: &Workspace, features: &[&Feature]) -> Result<PypiOptions, Error> {
    let shared = &workspace.solving.get()?.pypi_options;
    let mut options = PypiOptions::default();
    for feature in features {
        let own = feature.options.get()?.pypi.as_ref().unwrap_or(shared);
        options = options.united(own).map_err(|key| Error::Environment {
            path: workspace.manifest_path.clone(),
            environment: name.to_owned(),
            message: format!("its features want different values of `{key}` in `pypi-options`"),
        })?;
    }
    Ok(options)
}

fn exclude_newer(workspace: &Workspace, channels: &[ManifestChannel]) -> Result<ExcludeNewer, Error> {
    let mut exclude = workspace.solving.get()?.exclude_newer.clone();
    let of_channel = |channel: &ManifestChannel| Some((channel.url.clone(), channel.exclude_newer?));
    exclude.channels = channels.iter().filter_map(of_channel).collect();
    Ok(exclude)
}

/// The subdir's defaults, and what is declared in their place or beside them.
fn virtual_packages(features: &[&Feature], platform: &ManifestPlatform) -> Vec<VirtualPackage> {
    let required = features.iter().flat_map(|feature| &feature.system_requirements);
    let applies = |package: &&VirtualPackage| applies_to(&package.name, &platform.subdir);
    let declared = VirtualPackage::unite(required.filter(applies).chain(&platform.virtual_packages));
    let is_declared = |package: &VirtualPackage| declared.iter().any(|d| d.name == package.name);
    let defaults = VirtualPackage::defaults(&platform.subdir).into_iter().filter(|package| !is_declared(package));
    defaults.chain(declared.iter().cloned()).collect()
}

/// Whether a system requirement means anything on a subdir.
fn applies_to(name: &str, subdir: &str) -> bool {
    match name {
        "__linux" | "__glibc" | "__musl" | "__eglibc" => subdir.starts_with("linux-"),
        "__osx" => subdir.starts_with("osx-"),
        "__cuda" => !subdir.starts_with("osx-"),
        // Deprecated, and not used by pixi either.
        "__archspec" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
