//! `[tool.pixi-oci]`: how a workspace wants its images. An environment's part overrides the rest, the command line both.
//!
//! A new key is a field of [`OciConfig`], a line of [`OciConfig::over`] and a row of docs/configuration.md. Every key can be
//! set for one run with `--set KEY=VALUE`; few have a flag of their own.

mod image_test;
mod read;
mod values;
mod writer;

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
};

use serde::Deserialize;

pub(crate) use self::read::read;
pub use self::{
    image_test::ImageTest,
    read::setting,
    values::{CompressionAlgorithm, CompressionSetting, Include, Port, Protocol, RegistryLogin},
    writer::{with_bases, write_manifest},
};
use crate::VirtualPackage;

/// The table `[tool.pixi-oci]`, or one of its `[tool.pixi-oci.environments.ENV]`. `None`: not configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct OciConfig {
    /// Where images are published, e.g. `ghcr.io/me/app`.
    pub repositories: Option<Vec<String>>,
    pub tags: Option<Vec<String>>,
    /// What the tags of SIFs begin with, which people push into the repository of their images.
    #[serde(deserialize_with = "values::tag_prefix")]
    pub sif_tag_prefix: Option<String>,
    /// Whether what is published is an image index; else it is the image of the one architecture.
    pub index: Option<bool>,
    /// `scratch`, a registry reference, `oci:DIR`, …
    pub base: Option<String>,
    /// glibc of the base image, `MAJOR.MINOR`, instead of the one that is found in it.
    #[serde(deserialize_with = "values::glibc")]
    pub base_glibc: Option<(u32, u32)>,
    pub arch: Option<Vec<String>>,
    /// The environment to take when none is named. Not in an environment's part.
    pub environment: Option<String>,
    #[serde(deserialize_with = "values::absolute")]
    pub prefix: Option<String>,
    #[serde(deserialize_with = "values::absolute")]
    pub workdir: Option<String>,
    /// `USER[:GROUP]`, names or numbers.
    #[serde(deserialize_with = "values::user")]
    pub user: Option<String>,
    /// How versions are written: `semver`, `pep440` or `calver`; `None`: what is dotted numbers is a release.
    #[serde(deserialize_with = "values::version_scheme")]
    pub version_scheme: Option<String>,
    /// Where the sources are, for the annotation of that name.
    pub source: Option<String>,
    /// The project's page, likewise.
    pub url: Option<String>,
    #[serde(deserialize_with = "values::argv")]
    pub entrypoint: Option<Vec<String>>,
    /// Never together with [`task`](Self::task).
    #[serde(deserialize_with = "values::argv")]
    pub cmd: Option<Vec<String>>,
    pub task: Option<String>,
    pub test: Option<ImageTest>,
    /// In the manifest's order; no name twice.
    #[serde(deserialize_with = "values::variables")]
    pub env: Vec<(String, String)>,
    pub labels: BTreeMap<String, String>,
    /// Of the index and the image manifests, beside the standard ones; none of our own.
    #[serde(deserialize_with = "values::annotations")]
    pub annotations: BTreeMap<String, String>,
    pub ports: Option<Vec<Port>>,
    pub include: Option<Vec<Include>>,
    pub exclude: Option<Vec<String>>,
    /// Empty directories to make, e.g. mount points.
    #[serde(deserialize_with = "values::absolute_list")]
    pub directories: Option<Vec<String>>,
    /// Wheels in place of locked sources; paths or globs relative to the workspace.
    pub wheels: Option<Vec<String>>,
    /// The sha256 of packages that the lock file has none of, by name. Not in an environment's part.
    #[serde(deserialize_with = "values::hashes")]
    pub hashes: BTreeMap<String, String>,
    /// The environment that sources are built in, for what builds need and images do not.
    pub build_environment: Option<String>,
    pub compression: Option<CompressionSetting>,
    pub max_layers: Option<NonZeroU32>,
    /// Packages whose archives are longer than so many MiB go over several layers.
    pub split_above: Option<NonZeroU32>,
    #[serde(deserialize_with = "values::virtual_packages")]
    pub virtual_packages: Option<Vec<VirtualPackage>>,
    /// A command that prints a registry token.
    #[serde(deserialize_with = "values::argv")]
    pub token_command: Option<Vec<String>>,
    /// Upload in pieces of this many MB.
    pub chunk_size: Option<NonZeroU64>,
    /// Whether every blob is asked for, also those of images that a repository has already.
    pub check_blobs: Option<bool>,
    /// Logins of registries, by host.
    pub registries: BTreeMap<String, RegistryLogin>,
    pub environments: BTreeMap<String, OciConfig>,
}

impl OciConfig {
    /// What holds for one environment: its own part over the general one.
    pub fn for_environment(&self, environment: &str) -> OciConfig {
        let general = OciConfig { environments: BTreeMap::new(), ..self.clone() };
        match self.environments.get(environment) {
            Some(part) => part.clone().over(general),
            None => general,
        }
    }

    /// These settings over others. Single values and lists override, `env`, `labels` and `annotations` are merged by name. A `cmd` also
    /// overrides a `task`, and the other way round.
    pub fn over(self, below: OciConfig) -> OciConfig {
        let says_what_runs = self.cmd.is_some() || self.task.is_some();
        let (cmd, task) = if says_what_runs { (self.cmd, self.task) } else { (below.cmd, below.task) };
        let mut env = below.env;
        for (name, value) in self.env {
            match env.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => env.push((name, value)),
            }
        }
        let mut labels = below.labels;
        labels.extend(self.labels);
        let mut annotations = below.annotations;
        annotations.extend(self.annotations);
        let mut registries = below.registries;
        registries.extend(self.registries);
        let mut hashes = below.hashes;
        hashes.extend(self.hashes);
        OciConfig {
            repositories: self.repositories.or(below.repositories),
            tags: self.tags.or(below.tags),
            sif_tag_prefix: self.sif_tag_prefix.or(below.sif_tag_prefix),
            index: self.index.or(below.index),
            version_scheme: self.version_scheme.or(below.version_scheme),
            source: self.source.or(below.source),
            url: self.url.or(below.url),
            base: self.base.or(below.base),
            base_glibc: self.base_glibc.or(below.base_glibc),
            arch: self.arch.or(below.arch),
            environment: self.environment.or(below.environment),
            prefix: self.prefix.or(below.prefix),
            workdir: self.workdir.or(below.workdir),
            user: self.user.or(below.user),
            entrypoint: self.entrypoint.or(below.entrypoint),
            cmd,
            task,
            test: self.test.or(below.test),
            env,
            labels,
            annotations,
            ports: self.ports.or(below.ports),
            include: self.include.or(below.include),
            exclude: self.exclude.or(below.exclude),
            directories: self.directories.or(below.directories),
            wheels: self.wheels.or(below.wheels),
            hashes,
            build_environment: self.build_environment.or(below.build_environment),
            compression: self.compression.or(below.compression),
            max_layers: self.max_layers.or(below.max_layers),
            split_above: self.split_above.or(below.split_above),
            virtual_packages: self.virtual_packages.or(below.virtual_packages),
            token_command: self.token_command.or(below.token_command),
            chunk_size: self.chunk_size.or(below.chunk_size),
            check_blobs: self.check_blobs.or(below.check_blobs),
            registries,
            environments: below.environments,
        }
    }
}

#[cfg(test)]
mod tests;
