//! The workspace manifest: `pixi.toml`, or `pyproject.toml` with `[tool.pixi]`.
//!
//! Read tolerantly: what pixi may understand one day is not ours to refuse. Only `[tool.pixi-oci]` is strict.

mod about;
mod declared;
mod feature;
mod pyproject;

pub use about::About;
pub use declared::{Deferred, FeatureOptions, Requirements, Solving};
pub use feature::{DEFAULT as DEFAULT_ENVIRONMENT, EnvironmentManifest, Feature, Target};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    Error, ManifestError, ManifestPlatform, OciConfig, config, files, oci, platform,
    requirement::Context,
    toml::{Element, ManifestText, Section, suggestion},
};
use feature::DEFAULT;
use pixi_oci_net::S3Bucket;

/// A workspace as its manifest declares it. Nothing here was solved or downloaded.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The directory of the manifest, absolute.
    pub root: PathBuf,
    /// The manifest, absolute.
    pub manifest_path: PathBuf,
    pub about: About,
    /// The channels, names or URLs as written, highest priority first as listed.
    pub channels: Vec<String>,
    pub platforms: Vec<ManifestPlatform>,
    /// The environments; `default` is always there.
    pub environments: BTreeMap<String, EnvironmentManifest>,
    /// The features; `default`, which the top-level tables make, is always there.
    pub features: BTreeMap<String, Feature>,
    /// What it declares for solving, beside its features.
    pub solving: Deferred<Solving>,
    /// `s3-options` of the workspace, by bucket; they win over those of pixi's configuration.
    pub s3: BTreeMap<String, S3Bucket>,
    pub oci: OciConfig,
}

impl Workspace {
    /// Opens the workspace of a directory or manifest.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let manifest_path = files::manifest(path)?;
        let text = files::read_manifest(&manifest_path)?;
        Self::parse(manifest_path, text)
    }

    /// Reads a manifest's text; `manifest_path` is where it is from.
    pub fn parse(manifest_path: PathBuf, text: String) -> Result<Self, Error> {
        let manifest = ManifestText { path: manifest_path, text };
        let document = manifest.parse()?;
        let top = Section::root(&manifest, &document);
        let tool = top.section("tool")?;
        let pyproject = files::is_pyproject(&manifest.path);
        let pixi = match &tool {
            _ if !pyproject => Some(top.clone()),
            Some(tool) => tool.section("pixi")?,
            None => None,
        };
        let no_workspace = || Error::NoWorkspace {
            path: manifest.path.clone(),
            message: if pyproject { "it has no [tool.pixi.workspace] table" } else { "it has no [workspace] table" }
                .to_owned(),
        };
        let pixi = pixi.ok_or_else(no_workspace)?;
        // `[project]` was the table's name before pixi 0.42. In pyproject.toml `[project]` itself is Python's.
        let workspace = match pixi.section("workspace")? {
            Some(workspace) => workspace,
            None => pixi.section("project")?.ok_or_else(no_workspace)?,
        };
        let python = if pyproject { top.section("project")? } else { None };

        let root = manifest.path.parent().unwrap_or(Path::new("/")).to_owned();
        let pool = workspace.section("dependencies")?;
        let context = Context { feature: DEFAULT, root: &root, pool: pool.as_ref() };
        let mut environments = read_environments(&pixi, context)?;
        let mut platforms = platform::read(&workspace)?.unwrap_or_default();
        let mut features = read_features(&pixi, &workspace, &platforms, context)?;
        extend_platforms(&mut platforms, &features);
        if pyproject {
            pyproject::extend(&top, &mut features)?;
        }
        for (name, environment) in &mut environments {
            environment.features_exist = Deferred::of(check_features(&pixi, name, &features));
        }
        let oci = match &tool {
            Some(tool) => read_oci(&manifest, tool, &environments)?,
            None => OciConfig::default(),
        };
        Ok(Self {
            about: About::read(&workspace, python.as_ref(), &root)?,
            channels: read_channels(&workspace)?,
            platforms,
            features,
            environments,
            solving: Deferred::of(Solving::read(&pixi, &workspace, &root)),
            s3: workspace.section("s3-options")?.map_or(Ok(BTreeMap::new()), |section| config::buckets(&section))?,
            oci,
            root,
            manifest_path: manifest.path,
        })
    }

    /// `pixi.toml`, `pyproject.toml`, or what the file that was named is called.
    pub fn manifest_file_name(&self) -> String {
        self.manifest_path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Where the lock file is, whether it exists or not.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("pixi.lock")
    }
}

fn read_oci(
    manifest: &ManifestText,
    tool: &Section<'_>,
    environments: &BTreeMap<String, EnvironmentManifest>,
) -> Result<OciConfig, ManifestError> {
    let Some(table) = tool.raw("pixi-oci") else { return Ok(OciConfig::default()) };
    oci::read(table, environments.keys().map(String::as_str)).map_err(|problem| {
        let span = problem.span.or_else(|| table.span());
        ManifestError { hint: problem.hint, ..manifest.error(span, problem.message) }
    })
}

fn read_channels(workspace: &Section<'_>) -> Result<Vec<String>, ManifestError> {
    let entries = workspace.list("channels")?.unwrap_or_default();
    let channel = |entry: &Element<'_>| match entry {
        // `{ channel = "conda-forge", priority = 1 }`
        Element::Table(table) => {
            table.string("channel")?.ok_or_else(|| table.error("a channel's table needs `channel`"))
        }
        Element::Value(leaf) => leaf.string(),
    };
    entries.iter().map(channel).collect()
}

fn read_environments(
    pixi: &Section<'_>,
    context: Context<'_>,
) -> Result<BTreeMap<String, EnvironmentManifest>, ManifestError> {
    let mut environments = BTreeMap::from([(DEFAULT.to_owned(), EnvironmentManifest::default())]);
    if let Some(section) = pixi.section("environments")? {
        for name in section.keys() {
            let environment = EnvironmentManifest::read(&section, name, Context { feature: name, ..context })?;
            environments.insert(name.to_owned(), environment);
        }
    }
    Ok(environments)
}

/// Every feature of an environment must be there, and once: with two of them it could not be said which wins.
fn check_features(
    pixi: &Section<'_>,
    environment: &str,
    features: &BTreeMap<String, Feature>,
) -> Result<(), ManifestError> {
    let Some(environments) = pixi.section("environments")? else { return Ok(()) };
    let entries = match environments.entry(environment)? {
        Some(Element::Table(table)) => table.list("features")?,
        Some(Element::Value(_)) => environments.list(environment)?,
        None => None,
    };
    let mut seen: Vec<String> = Vec::new();
    for entry in entries.unwrap_or_default() {
        let name = entry.string()?;
        if !features.contains_key(&name) {
            let mut error = entry.error(format!("feature `{name}` is not defined"));
            error.hint = suggestion(&name, features.keys().map(String::as_str));
            return Err(error);
        }
        if seen.contains(&name) {
            return Err(entry.error(format!("feature `{name}` is there twice")));
        }
        seen.push(name);
    }
    Ok(())
}

fn read_features(
    pixi: &Section<'_>,
    workspace: &Section<'_>,
    platforms: &[ManifestPlatform],
    context: Context<'_>,
) -> Result<BTreeMap<String, Feature>, ManifestError> {
    let mut features = BTreeMap::new();
    if let Some(section) = pixi.section("feature")? {
        for (name, section) in section.sections()? {
            let mut feature = Feature::read(&section, Context { feature: name, ..context })?;
            feature.options.update(|_| platform::check(&section, platforms));
            features.insert(name.to_owned(), feature);
        }
    }
    let options = Deferred::of(FeatureOptions::read_default(pixi, workspace));
    features.insert(DEFAULT.to_owned(), Feature { options, ..Feature::read(pixi, context)? });
    Ok(features)
}

/// Adds the platforms that only features name, as pixi does from 0.71 on.
fn extend_platforms(platforms: &mut Vec<ManifestPlatform>, features: &BTreeMap<String, Feature>) {
    for feature in features.values() {
        let Ok(options) = feature.options.get() else { continue };
        for platform in options.platforms.iter().flatten() {
            let is_there = |known: &ManifestPlatform| known.name == platform.name || known.subdir == platform.name;
            if !platforms.iter().any(is_there) {
                platforms.push(platform.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
