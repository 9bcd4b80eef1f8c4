//! Features and environments of a workspace, as far as an image is concerned by them.

use std::collections::BTreeMap;

use crate::{
    Deferred, Error, FeatureOptions, ManifestError, Requirements, TargetPlatform, VirtualPackage,
    platform::system_requirements,
    requirement::Context,
    task::TaskManifest,
    toml::{Element, Section},
};

/// The name of the feature that the top-level tables make, and of the environment every workspace has.
pub const DEFAULT: &str = "default";

/// A feature: what the top level of a manifest, `[feature.NAME]`, or an environment's own table declares.
#[derive(Debug, Clone, Default)]
pub struct Feature {
    /// The feature's own part, then its `[target.SELECTOR]` parts in the manifest's order.
    pub targets: Vec<Target>,
    /// `[system-requirements]` as virtual packages.
    pub system_requirements: Vec<VirtualPackage>,
    pub options: Deferred<FeatureOptions>,
}

/// What a feature declares for some platforms, or for all.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// `linux`, `unix`, `linux-64`, a platform's name or a glob over names; `None` for the part that always applies.
    pub selector: Option<String>,
    /// `activation.scripts`; `None` if there is no such key, which is not the same as an empty list.
    pub scripts: Option<Vec<String>>,
    /// `activation.env`, in the manifest's order.
    pub env: Vec<(String, String)>,
    pub tasks: BTreeMap<String, TaskManifest>,
    pub requirements: Deferred<Requirements>,
}

#[derive(Debug, Clone, Default)]
pub struct EnvironmentManifest {
    /// The features it lists, without the default one.
    pub features: Vec<String>,
    pub no_default_feature: bool,
    /// Environments of one group share their versions.
    pub solve_group: Option<String>,
    /// Whether the workspace has all of them.
    pub features_exist: Deferred<()>,
    /// What the environment's table declares itself (pixi treats it as a feature before all others).
    pub own: Option<Feature>,
}

impl Feature {
    /// Reads the tables of a feature. Keys that do not matter here are not looked at.
    pub(crate) fn read(section: &Section<'_>, context: Context<'_>) -> Result<Self, ManifestError> {
        let mut targets = vec![Target::read(section, None, context)?];
        if let Some(parts) = section.section("target")? {
            for (selector, part) in parts.sections()? {
                targets.push(Target::read(&part, Some(selector.to_owned()), context)?);
            }
        }
        Ok(Self {
            targets,
            system_requirements: system_requirements::read(section)?,
            options: Deferred::of(FeatureOptions::read(section, context.root)),
        })
    }

    /// The parts that apply to a platform of this name and conda subdir, the most specific first: in pixi a later
    /// `[target]` beats an earlier one, and all beat the part without a selector.
    pub(crate) fn targets_for(&self, platform: TargetPlatform<'_>) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(move |target| target.applies_to(platform)).rev()
    }

    /// What it requires on a platform: of several parts that name a package, the most specific one counts.
    pub fn requirements_for(&self, platform: TargetPlatform<'_>) -> Result<Requirements, Error> {
        let mut parts: Vec<_> = self.targets_for(platform).collect();
        parts.reverse();
        parts
            .into_iter()
            .try_fold(Requirements::default(), |all, part| Ok(all.overwritten_by(part.requirements.get()?)))
    }
}

impl Target {
    fn read(section: &Section<'_>, selector: Option<String>, context: Context<'_>) -> Result<Self, ManifestError> {
        let activation = section.section("activation")?;
        let (scripts, env) = match &activation {
            Some(activation) => (activation.strings("scripts")?, activation.string_map("env")?.unwrap_or_default()),
            None => (None, Vec::new()),
        };
        let mut tasks = BTreeMap::new();
        if let Some(section) = section.section("tasks")? {
            for name in section.keys() {
                tasks.insert(name.to_owned(), TaskManifest::read(&section, name));
            }
        }
        Ok(Self { selector, scripts, env, tasks, requirements: Deferred::of(Requirements::read(section, context)) })
    }

    fn applies_to(&self, TargetPlatform { name, subdir }: TargetPlatform<'_>) -> bool {
        let is = |family: &str| subdir.split('-').next() == Some(family);
        match self.selector.as_deref() {
            None => true,
            Some("linux") => is("linux"),
            Some("osx" | "macos") => is("osx"),
            Some("win") => is("win"),
            Some("unix") => ["linux", "osx", "freebsd", "emscripten"].into_iter().any(is),
            Some(selector) if selector.contains('*') => glob_matches(selector, name),
            Some(selector) => selector == subdir || selector == name,
        }
    }
}

impl EnvironmentManifest {
    /// Reads a value of `[environments]`: a list of features or a table.
    pub(crate) fn read(environments: &Section<'_>, name: &str, context: Context<'_>) -> Result<Self, ManifestError> {
        let Some(Element::Table(section)) = environments.entry(name)? else {
            let features = environments.strings(name)?.unwrap_or_default();
            return Ok(Self { features, ..Self::default() });
        };
        let not_own = ["features", "no-default-feature", "solve-group"];
        let has_own_part = section.keys().any(|key| !not_own.contains(&key));
        let own = has_own_part.then(|| Feature::read(&section, context)).transpose()?;
        Ok(Self {
            features: section.strings("features")?.unwrap_or_default(),
            no_default_feature: section.boolean("no-default-feature")?.unwrap_or(false),
            solve_group: section.string("solve-group")?,
            features_exist: Deferred::default(),
            own,
        })
    }
}

/// `*` stands for any characters; nothing else is special (pixi's `PlatformGlob`).
fn glob_matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn globs() {
        for (glob, name) in
            [("*", "a"), ("*-cuda", "linux-64-cuda"), ("linux-*", "linux-64"), ("a*b*c", "axbxc"), ("a**b", "ab")]
        {
            assert!(glob_matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("*-cuda", "linux-64"), ("a*a", "a"), ("linux-*x", "linux-64"), ("a*b*c", "axcxb")] {
            assert!(!glob_matches(glob, name), "{glob} {name}");
        }
    }
}
