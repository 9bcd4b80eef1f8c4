//! Which workspace, and for which machines.

use std::path::{Path, PathBuf};

use clap::Args;
use pixi_oci_image::Architecture;
use pixi_oci_project::{Inputs, LockUse, ProvenanceInputs};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::{VirtualPackage, Workspace as OpenWorkspace};

use super::{ImageArgs, SettingArgs};
use crate::error::CliError;
use crate::version::facts;

/// Which workspace.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkspacePath {
    /// The workspace: a directory, or its pixi.toml or pyproject.toml [default: .].
    #[arg(value_name = "WORKSPACE")]
    workspace: Option<PathBuf>,
    /// The same, as pixi has it.
    #[arg(long, hide = true, value_name = "PATH", conflicts_with = "workspace")]
    manifest_path: Option<PathBuf>,
}

impl WorkspacePath {
    pub fn path(&self) -> PathBuf {
        self.manifest_path.clone().or_else(|| self.workspace.clone()).unwrap_or_else(|| PathBuf::from("."))
    }

    pub fn is_named(&self) -> bool {
        self.manifest_path.is_some() || self.workspace.is_some()
    }
}

impl From<PathBuf> for WorkspacePath {
    fn from(path: PathBuf) -> Self {
        Self { workspace: Some(path), manifest_path: None }
    }
}

/// Whether somebody may have meant a repository of a registry.
fn is_reference(text: &str) -> bool {
    let name = text.strip_prefix("docker://");
    let host = name.unwrap_or(text).split_once('/').map(|(host, _)| host);
    name.is_some() || host.is_some_and(|host| host.trim_matches('.').contains(['.', ':']))
}

/// For which machines.
#[derive(Debug, Clone, Default, Args)]
pub struct Targets {
    /// Architectures: amd64, arm64 [default: the configured ones, else all linux platforms of the environment].
    #[arg(long, value_delimiter = ',', value_name = "ARCH", value_parser = architecture)]
    arch: Vec<Architecture>,
    /// Platforms by the manifest's names, where an architecture has several (linux-64 and linux-64-cuda).
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    platform: Vec<String>,
    /// What the machines that run the image have, e.g. __cuda=12.6; the build machine is never asked. Repeatable.
    /// CONDA_OVERRIDE_CUDA, CONDA_OVERRIDE_GLIBC, CONDA_OVERRIDE_LINUX and CONDA_OVERRIDE_ARCHSPEC say the same.
    #[arg(long = "virtual-package", value_name = "NAME=VERSION")]
    virtual_packages: Vec<VirtualPackage>,
}

impl Targets {
    /// `--arch`, and what is an architecture in `--platform`: others write `linux/arm64` there.
    pub fn architectures(&self) -> Vec<Architecture> {
        let platforms = self.platform.iter().filter_map(|name| oci_platform(name));
        let mut all: Vec<Architecture> = Vec::new();
        for architecture in self.arch.iter().copied().chain(platforms) {
            if !all.contains(&architecture) {
                all.push(architecture);
            }
        }
        all
    }

    /// Platforms by the manifest's names.
    pub fn platforms(&self) -> Vec<String> {
        self.platform.iter().filter(|name| oci_platform(name).is_none()).cloned().collect()
    }

    /// `--virtual-package` over `CONDA_OVERRIDE_*`.
    pub fn virtual_packages(&self) -> Result<Vec<VirtualPackage>, CliError> {
        with_overrides(&self.virtual_packages)
    }
}

/// No name of a platform in a manifest has a slash.
fn oci_platform(name: &str) -> Option<Architecture> {
    name.contains('/').then(|| architecture(name).ok()).flatten()
}

/// An architecture, by any of its names.
pub fn architecture(text: &str) -> Result<Architecture, String> {
    Architecture::from_any_name(text).map_err(|_| "expected amd64 (x86_64) or arm64 (aarch64)".to_string())
}

/// How the lock file is used.
#[derive(Debug, Clone, Default, Args)]
pub struct LockFileArgs {
    /// Fail also if there is no lock file, instead of making it. One that is not what the manifest says now is an error in
    /// any case but --frozen. PIXI_LOCKED=true says the same.
    #[arg(long, conflicts_with = "frozen")]
    locked: bool,
    /// Use the lock file as it is, without comparing it with the manifest. PIXI_FROZEN=true says the same.
    #[arg(long)]
    frozen: bool,
}

/// What an environment variable says that means no.
const FALSE: [&str; 6] = ["", "0", "false", "no", "off", "n"];

impl LockFileArgs {
    /// `--locked` and `--frozen`, else pixi's PIXI_LOCKED and PIXI_FROZEN.
    fn lock_use(&self) -> Result<LockUse, CliError> {
        let said = |name: &str| std::env::var(name).is_ok_and(|value| !FALSE.contains(&value.to_lowercase().as_str()));
        let (locked, frozen) = match (self.locked, self.frozen) {
            (false, false) => (said("PIXI_LOCKED"), said("PIXI_FROZEN")),
            flags => flags,
        };
        match (locked, frozen) {
            (true, true) => Err(CliError::Usage("PIXI_LOCKED and PIXI_FROZEN contradict each other; unset one".into())),
            (true, false) => Ok(LockUse::Locked),
            (false, true) => Ok(LockUse::Frozen),
            (false, false) => Ok(LockUse::Create),
        }
    }
}

/// Which workspace, environment and platforms.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    #[command(flatten)]
    pub workspace: WorkspacePath,
    /// The environment [default: the configured one, else `default`].
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub lock: LockFileArgs,
    #[command(flatten)]
    pub settings: SettingArgs,
}

impl Selection {
    /// Opens the workspace: the one place where that is done.
    pub fn open(&self) -> Result<OpenWorkspace, CliError> {
        let path = self.workspace.path();
        if is_reference(&path.to_string_lossy()) && !path.exists() {
            let name = path.display().to_string();
            let name = name.strip_prefix("docker://").unwrap_or(&name);
            return Err(CliError::Usage(format!(
                "{name} is not a directory with a workspace; a registry to publish to is `--to docker://{name}`"
            )));
        }
        Ok(OpenWorkspace::open(&path)?)
    }

    /// Everything that the workspace's files do not say.
    pub fn inputs(&self, image: Option<&ImageArgs>, cache_from: &[RepositoryRef]) -> Result<Inputs, CliError> {
        Ok(Inputs {
            lock_use: self.lock.lock_use()?,
            environment: self.environment.clone(),
            architectures: self.targets.architectures(),
            platforms: self.targets.platforms(),
            overrides: image.map(ImageArgs::overrides).unwrap_or_default().over(self.settings.overrides()),
            virtual_packages: self.targets.virtual_packages()?,
            sources: image.map(|image| image.sources.inputs()).unwrap_or_default(),
            provenance: ProvenanceInputs { epoch: epoch()?, version: facts(&self.workspace.path()), recorded: None },
            cache_from: cache_from.to_vec(),
            now: jiff::Timestamp::now(),
        })
    }

    /// The same of another workspace.
    pub fn of(&self, workspace: &Path) -> Self {
        Self { workspace: workspace.to_owned().into(), ..self.clone() }
    }
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org): seconds since 1970.
fn epoch() -> Result<Option<i64>, CliError> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let number = text.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
    number
        .map(Some)
        .ok_or_else(|| CliError::Usage(format!("SOURCE_DATE_EPOCH={text:?} is not a number of seconds since 1970")))
}

/// Virtual packages that were said on the command line, over those of `CONDA_OVERRIDE_*`.
pub fn with_overrides(said: &[VirtualPackage]) -> Result<Vec<VirtualPackage>, CliError> {
    let mut all = Vec::new();
    for name in ["cuda", "glibc", "linux", "archspec"] {
        let variable = format!("CONDA_OVERRIDE_{}", name.to_uppercase());
        let Ok(value) = std::env::var(&variable) else { continue };
        // conda takes an empty value as "there is none".
        if value.is_empty() {
            continue;
        }
        let text = if name == "archspec" { format!("__archspec=0={value}") } else { format!("__{name}={value}") };
        all.push(text.parse().map_err(|error| CliError::Usage(format!("{variable}={value}: {error}")))?);
    }
    all.extend(said.iter().cloned());
    Ok(all)
}

/// Which workspace, for a command that needs none.
#[derive(Debug, Args)]
pub struct ConfigurationArgs {
    /// A workspace whose configuration is to count as well: its directory, or its pixi.toml or pyproject.toml.
    #[arg(long, visible_alias = "manifest-path", value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The environment of that workspace [default: the configured one, else `default`].
    #[arg(short, long, value_name = "NAME", requires = "workspace")]
    environment: Option<String>,
    /// The architectures that an index must have: amd64, arm64 [default: those of the workspace that the legs are of].
    #[arg(long, value_delimiter = ',', value_name = "ARCH", value_parser = architecture)]
    arch: Vec<Architecture>,
    #[command(flatten)]
    settings: SettingArgs,
}

impl ConfigurationArgs {
    /// The same as a selection of all platforms.
    pub fn selection(&self) -> Selection {
        Selection {
            workspace: WorkspacePath { workspace: self.workspace.clone(), manifest_path: None },
            environment: self.environment.clone(),
            targets: Targets { arch: self.arch.clone(), ..Targets::default() },
            settings: self.settings.clone(),
            ..Selection::default()
        }
    }
}
