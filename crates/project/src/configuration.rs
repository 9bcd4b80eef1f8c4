//! `[tool.pixi-oci]`, the command line over it, and the defaults below: checked, and with a value for everything.

use std::num::NonZeroU32;

use pixi_oci_image::Architecture;
use pixi_oci_layer::Compression;
use pixi_oci_package::TargetPrefix;
use pixi_oci_workspace::{CompressionAlgorithm, OciConfig, VirtualPackage, Workspace};

use crate::{Error, inputs::Inputs, inputs::RequestError};

#[derive(Debug, Clone)]
pub struct Configuration {
    pub environment: String,
    /// As configured; empty means all that are locked.
    pub architectures: Vec<Architecture>,
    /// The base image's reference, or `scratch`.
    pub base: String,
    /// Where packages live in the image.
    pub prefix: TargetPrefix,
    /// The working directory, absolute.
    pub workdir: String,
    pub compression: Compression,
    /// The most layers an image may have.
    pub max_layers: usize,
    pub virtual_packages: Vec<VirtualPackage>,
    /// Everything else, as it is.
    pub oci: OciConfig,
}

impl Configuration {
    /// A package whose archive has more bytes goes over several layers.
    pub fn split_above(&self) -> u64 {
        u64::from(self.oci.split_above.map_or(DEFAULT_SPLIT_ABOVE, NonZeroU32::get)) << 20
    }
}

/// The base image where none is configured.
pub(crate) const DEFAULT_BASE: &str = "docker.io/library/ubuntu:24.04";
/// The same for every project and environment, so that layers are shared.
const DEFAULT_PREFIX: &str = "/opt/pixi/env";
const DEFAULT_WORKDIR: &str = "/app";
const DEFAULT_MAX_LAYERS: u32 = 100;
const DEFAULT_SPLIT_ABOVE: u32 = 256;

pub fn configuration(inputs: &Inputs, workspace: &Workspace) -> Result<Configuration, Error> {
    let environment = inputs.environment.clone().or(workspace.oci.environment.clone()).unwrap_or("default".into());
    workspace.environment(&environment)?;
    let oci = inputs.overrides.clone().over(workspace.oci.for_environment(&environment));

    let architectures =
        oci.arch.iter().flatten().map(|text| {
            Architecture::from_any_name(text).map_err(|_| RequestError::Architecture { text: text.clone() })
        });
    let compression = match oci.compression {
        None => Compression::default(),
        Some(setting) => match (setting.algorithm, setting.level) {
            (CompressionAlgorithm::Gzip, None) => Compression::default(),
            (CompressionAlgorithm::Gzip, Some(level)) => Compression::Gzip { level },
            (CompressionAlgorithm::Zstd, level) => Compression::Zstd { level: level.unwrap_or(3) },
        },
    };
    Ok(Configuration {
        architectures: architectures.collect::<Result<_, _>>()?,
        base: base(inputs, workspace, &oci),
        prefix: prefix(oci.prefix.as_deref().unwrap_or(DEFAULT_PREFIX))?,
        workdir: workdir(oci.workdir.as_deref().unwrap_or(DEFAULT_WORKDIR))?,
        compression,
        max_layers: oci.max_layers.map_or(DEFAULT_MAX_LAYERS, NonZeroU32::get) as usize,
        virtual_packages: oci.virtual_packages.clone().unwrap_or_default(),
        environment,
        oci,
    })
}

/// A path in the manifest is relative to the workspace, one on the command line to the working directory.
fn base(inputs: &Inputs, workspace: &Workspace, oci: &OciConfig) -> String {
    let base = oci.base.clone().unwrap_or(DEFAULT_BASE.into());
    if inputs.overrides.base.is_some() {
        return base;
    }
    absolute_base(workspace, &base)
}

/// The name of a base image in the manifest, with the path in it made absolute.
pub fn absolute_base(workspace: &Workspace, base: &str) -> String {
    match base.split_once(':') {
        Some((transport @ ("oci" | "oci-archive" | "docker-archive" | "dir"), path)) if !path.starts_with('/') => {
            format!("{transport}:{}", workspace.root.join(path).display())
        }
        _ => base.to_owned(),
    }
}

/// File systems that the kernel mounts over a container's root.
const KERNEL: [&str; 3] = ["proc", "sys", "dev"];

fn prefix(text: &str) -> Result<TargetPrefix, Error> {
    let prefix = TargetPrefix::new(text)?;
    if prefix.tree_path().components().next().is_some_and(|first| KERNEL.contains(&first)) {
        let reason = "is in a file system of the kernel, which hides what the image has there".into();
        return Err(RequestError::Setting { setting: "prefix", text: text.into(), reason }.into());
    }
    Ok(prefix)
}

/// Absolute, and not the root: the manifest in `/` would make every directory of the image part of the workspace.
fn workdir(text: &str) -> Result<String, RequestError> {
    let bad = |reason: &str| RequestError::Setting { setting: "workdir", text: text.into(), reason: reason.into() };
    let path = text.strip_prefix('/').ok_or_else(|| bad("is not an absolute path"))?.trim_end_matches('/');
    pixi_oci_layer::TreePath::new(path).map_err(|error| bad(&error.to_string()))?;
    Ok(format!("/{path}"))
}
