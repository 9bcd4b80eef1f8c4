//! What `pyproject.toml` adds to a workspace: `[project] dependencies` and `requires-python` to the default feature, each
//! group of `[project.optional-dependencies]` and `[dependency-groups]` to the feature of its name.

use std::{cell::Cell, collections::BTreeMap};

use pep508_rs::pep440_rs::VersionSpecifiers;
use rattler_conda_types::{NamelessMatchSpec, PackageName, ParseStrictness, VersionSpec};

use crate::{
    Deferred, Feature, ManifestError, PypiRequirement, Requirement,
    manifest::feature::{DEFAULT, Target},
    pypi::normalized,
    toml::{Element, Section},
};

/// A group may include another, that one a third, and so on.
const MAX_DEPTH: usize = 32;
/// What is looked at of all groups: one that includes another twice, which includes a third twice, doubles at each.
const MAX_STEPS: usize = 100_000;

/// Adds to `features`; `top` is the root of the `pyproject.toml`.
pub(crate) fn extend(top: &Section<'_>, features: &mut BTreeMap<String, Feature>) -> Result<(), ManifestError> {
    let project = top.section("project")?;
    let groups = Groups {
        name: project
            .as_ref()
            .map(|project| project.string("name"))
            .transpose()?
            .flatten()
            .map(|name| normalized(&name)),
        optional: project.as_ref().map(|project| project.section("optional-dependencies")).transpose()?.flatten(),
        dependency: top.section("dependency-groups")?,
        steps: Cell::new(0),
    };
    if let Some(optional) = &groups.optional {
        for group in optional.keys() {
            add(features, group, |list| groups.optional(group, group, list, 0));
        }
    }
    if let Some(dependency) = &groups.dependency {
        for group in dependency.keys() {
            add(features, group, |list| groups.dependency(group, group, list, 0));
        }
    }
    if let Some(project) = &project {
        add(features, DEFAULT, |list| {
            for entry in project.list("dependencies")?.unwrap_or_default() {
                list.push(parse(&entry, DEFAULT)?);
            }
            Ok(())
        });
    }
    let python = python(project.as_ref());
    requirements(features, DEFAULT).update(|requirements| {
        let python = python?;
        if !requirements.conda.iter().any(|known| known.name == python.name) {
            requirements.conda.push(python);
        }
        Ok(())
    });
    Ok(())
}

/// Appends what `read` finds to the feature's Python requirements; makes the feature if there is none.
fn add(
    features: &mut BTreeMap<String, Feature>,
    feature: &str,
    read: impl FnOnce(&mut Vec<PypiRequirement>) -> Result<(), ManifestError>,
) {
    requirements(features, feature).update(|requirements| read(&mut requirements.pypi));
}

fn requirements<'f>(
    features: &'f mut BTreeMap<String, Feature>,
    feature: &str,
) -> &'f mut Deferred<crate::Requirements> {
    let feature = features.entry(feature.to_owned()).or_default();
    if feature.targets.is_empty() {
        feature.targets.push(Target::default());
    }
    &mut feature.targets[0].requirements
}

struct Groups<'a> {
    /// The project's PEP 503 name, by which its optional dependencies may refer to one another.
    name: Option<String>,
    optional: Option<Section<'a>>,
    dependency: Option<Section<'a>>,
    /// How many entries were looked at.
    steps: Cell<usize>,
}

impl<'a> Groups<'a> {
    /// The entries of a group; none where the group does not exist.
    fn entries(section: &Section<'a>, group: &str) -> Result<Vec<Element<'a>>, ManifestError> {
        let Some(key) = section.keys().find(|key| normalized(key) == normalized(group)) else { return Ok(Vec::new()) };
        Ok(section.list(key)?.unwrap_or_default())
    }

    fn step(&self, entry: &Element<'_>) -> Result<(), ManifestError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err(entry.error(format!("the groups have more than {MAX_STEPS} entries with what they include")));
        }
        Ok(())
    }

    /// The requirements of an extra; `NAME[other]` stands for those of another extra.
    fn optional(
        &self,
        group: &str,
        feature: &str,
        list: &mut Vec<PypiRequirement>,
        depth: usize,
    ) -> Result<(), ManifestError> {
        let Some(section) = &self.optional else { return Ok(()) };
        for entry in Self::entries(section, group)? {
            self.step(&entry)?;
            let requirement = parse(&entry, feature)?;
            if self.name.as_ref() != Some(&requirement.name) {
                list.push(requirement);
                continue;
            }
            if depth == MAX_DEPTH {
                return Err(entry.error(format!("the extra `{group}` includes itself")));
            }
            for extra in &requirement.extras {
                self.optional(extra, feature, list, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The requirements of a dependency group (PEP 735).
    fn dependency(
        &self,
        group: &str,
        feature: &str,
        list: &mut Vec<PypiRequirement>,
        depth: usize,
    ) -> Result<(), ManifestError> {
        let Some(section) = &self.dependency else { return Ok(()) };
        for entry in Self::entries(section, group)? {
            self.step(&entry)?;
            let Element::Table(table) = &entry else {
                list.push(parse(&entry, feature)?);
                continue;
            };
            let included = table.string("include-group")?;
            let included =
                included.ok_or_else(|| table.error("a dependency group has strings and `include-group`s"))?;
            if !section.keys().any(|key| normalized(key) == normalized(&included)) {
                return Err(table.error_at("include-group", format!("there is no dependency group `{included}`")));
            }
            if depth == MAX_DEPTH {
                return Err(table.error_at("include-group", format!("the dependency group `{group}` includes itself")));
            }
            self.dependency(&included, feature, list, depth + 1)?;
        }
        Ok(())
    }
}

fn parse(entry: &Element<'_>, feature: &str) -> Result<PypiRequirement, ManifestError> {
    PypiRequirement::parse(&entry.string()?, feature).map_err(|message| entry.error(message))
}

/// `requires-python` as a conda requirement: with a `pyproject.toml` pixi always wants a Python.
fn python(project: Option<&Section<'_>>) -> Result<Requirement, ManifestError> {
    let mut spec = NamelessMatchSpec::default();
    if let Some(project) = project
        && let Some(text) = project.string("requires-python")?
    {
        // `==` is the exact version in Python and a prefix in conda's lenient reading, which is what pixi makes of it.
        let error = |e: &dyn std::fmt::Display| {
            project.error_at("requires-python", format!("`{text}` is not a version specification: {e}"))
        };
        let python: VersionSpecifiers = text.parse().map_err(|e| error(&e))?;
        let plain = python.to_string();
        let plain = plain.strip_prefix("==").unwrap_or(&plain);
        let version = VersionSpec::from_str(plain, ParseStrictness::Lenient).map_err(|e| error(&e))?;
        spec.version = Some(version);
    }
    Ok(Requirement { name: PackageName::new_unchecked("python"), spec, source: None, feature: DEFAULT.to_owned() })
}
