//! What can be said on the command line. The doc comments are the help texts.

use std::{io::IsTerminal, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pixi_oci_image::Architecture;
use pixi_oci_project::{Assumed, BuildPlace, Inputs, LockUse, ProvenanceInputs, SourceInputs};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::{
    CompressionSetting, Include, OciConfig, VirtualPackage, Workspace as OpenWorkspace, split_plain,
};

use crate::{
    commands::{
        build::BuildArgs,
        completion::CompletionArgs,
        install_product::InstallProductArgs,
        lock::LockArgs,
        man::ManArgs,
        plan::PlanArgs,
        product::{CheckProductArgs, ProductArgs},
        prune::PruneArgs,
        publish::PublishArgs,
        publish_index::PublishIndexArgs,
        verify::VerifyArgs,
    },
    error::CliError,
    output::{Output, Shape, Verbosity},
    version::facts,
};

/// Pixi workspaces as reproducible OCI images: no daemon, no root, no QEMU, and no package's code is run.
#[derive(Debug, Parser)]
#[command(name = "pixi-oci", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Build(Box<BuildArgs>),
    Plan(Box<PlanArgs>),
    Lock(LockArgs),
    Publish(Box<PublishArgs>),
    PublishIndex(Box<PublishIndexArgs>),
    Prune(Box<PruneArgs>),
    Product(Box<ProductArgs>),
    CheckProduct(CheckProductArgs),
    InstallProduct(InstallProductArgs),
    Verify(VerifyArgs),
    Completion(CompletionArgs),
    #[command(hide = true)]
    Man(ManArgs),
}

impl Command {
    /// As it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Build(_) => "build",
            Self::Plan(_) => "plan",
            Self::Lock(_) => "lock",
            Self::Publish(_) => "publish",
            Self::PublishIndex(_) => "publish-index",
            Self::Prune(_) => "prune",
            Self::Product(_) => "product",
            Self::CheckProduct(_) => "check-product",
            Self::InstallProduct(_) => "install-product",
            Self::Verify(_) => "verify",
            Self::Completion(_) => "completion",
            Self::Man(_) => "man",
        }
    }
}

/// How much is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Common {
    /// Say more: each package and layer.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Say errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// How progress is shown, on stderr: bars on a terminal and else lines (auto), lines, JSON events (docs/events.md), or
    /// not at all [default: auto].
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    progress: Option<ProgressForm>,
    /// The same as --progress none; what --progress says wins.
    #[arg(long, global = true, env = "PIXI_NO_PROGRESS", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    no_progress: bool,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, env = "PIXI_COLOR", hide_env_values = true)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressForm {
    Auto,
    Plain,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Always,
    Never,
    Auto,
}

impl Common {
    /// The writer that does what was said.
    pub fn output(&self) -> Output {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: present and not empty.
            Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Output::new(verbosity, color, self.shape())
    }

    fn shape(&self) -> Shape {
        let auto = if self.no_progress { ProgressForm::None } else { ProgressForm::Auto };
        match self.progress.unwrap_or(auto) {
            // What cannot move its cursor cannot redraw.
            ProgressForm::Auto
                if std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") =>
            {
                Shape::Bars
            }
            ProgressForm::Auto | ProgressForm::Plain => Shape::Plain,
            ProgressForm::Json => Shape::Json,
            ProgressForm::None => Shape::Silent,
        }
    }
}

/// Which workspace, environment and platforms.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// The workspace: a directory, or its pixi.toml or pyproject.toml [default: .].
    #[arg(value_name = "WORKSPACE")]
    pub workspace: Option<PathBuf>,
    /// The same, as pixi has it.
    #[arg(long, value_name = "PATH", conflicts_with = "workspace")]
    pub manifest_path: Option<PathBuf>,
    /// The environment [default: the configured one, else `default`].
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Architectures: amd64, arm64 [default: the configured ones, else all linux platforms of the environment].
    #[arg(long, value_delimiter = ',', value_name = "ARCH", value_parser = architecture)]
    pub arch: Vec<Architecture>,
    /// Platforms by the manifest's names, where an architecture has several (linux-64 and linux-64-cuda).
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub platform: Vec<String>,
    /// Fail if the lock file is not what the manifest says now. This is the default; it takes back PIXI_FROZEN.
    #[arg(long, conflicts_with = "frozen")]
    pub locked: bool,
    /// Use the lock file as it is, without comparing it with the manifest. PIXI_FROZEN=true says the same.
    #[arg(long)]
    pub frozen: bool,
    /// What the machines that run the image have, e.g. __cuda=12.6; the build machine is never asked. Repeatable.
    /// CONDA_OVERRIDE_CUDA, CONDA_OVERRIDE_GLIBC, CONDA_OVERRIDE_LINUX and CONDA_OVERRIDE_ARCHSPEC say the same.
    #[arg(long = "virtual-package", value_name = "NAME=VERSION")]
    pub virtual_packages: Vec<VirtualPackage>,
    /// The most layers the image may have.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(15..=1000))]
    pub max_layers: Option<u32>,
}

/// What an environment variable says that means no.
const FALSE: [&str; 6] = ["", "0", "false", "no", "off", "n"];

/// An architecture, by the name that OCI has for it.
pub fn architecture(text: &str) -> Result<Architecture, String> {
    text.parse().map_err(|_| "there are amd64 (x86_64) and arm64 (aarch64)".to_string())
}

impl Selection {
    /// The workspace's path.
    pub fn workspace(&self) -> PathBuf {
        self.manifest_path.clone().or_else(|| self.workspace.clone()).unwrap_or_else(|| PathBuf::from("."))
    }

    /// Whether a workspace was named at all.
    pub fn is_said(&self) -> bool {
        self.manifest_path.is_some() || self.workspace.is_some()
    }

    /// Opens the workspace: the one place where that is done.
    pub fn open(&self) -> Result<OpenWorkspace, CliError> {
        Ok(OpenWorkspace::open(&self.workspace())?)
    }

    /// Everything that the workspace's files do not say.
    pub fn inputs(&self, image: Option<&ImageArgs>, cache_from: &[RepositoryRef]) -> Result<Inputs, CliError> {
        let overrides = image
            .map(|image| image.overrides(self))
            .unwrap_or_else(|| OciConfig { max_layers: self.max_layers, ..OciConfig::default() });
        let lock_use = match (self.frozen()?, self.locked) {
            (true, _) => LockUse::Frozen,
            (_, true) => LockUse::Locked,
            _ => LockUse::Create,
        };
        Ok(Inputs {
            lock_use,
            environment: self.environment.clone(),
            architectures: self.arch.clone(),
            platforms: self.platform.clone(),
            overrides,
            assumed: Assumed {
                virtual_packages: self.all_virtual_packages()?,
                base_glibc: image.and_then(|image| image.base_glibc),
            },
            sources: image.map(|image| image.sources.inputs()).unwrap_or_default(),
            provenance: ProvenanceInputs { epoch: epoch()?, version: facts(&self.workspace()), recorded: None },
            cache_from: cache_from.to_vec(),
            now: jiff::Timestamp::now(),
        })
    }

    /// Whether the lock file is used as it is: `--locked` and `--frozen` over pixi's PIXI_LOCKED and PIXI_FROZEN.
    pub fn frozen(&self) -> Result<bool, CliError> {
        if self.locked || self.frozen {
            return Ok(self.frozen);
        }
        let said = |name: &str| std::env::var(name).is_ok_and(|value| !FALSE.contains(&value.to_lowercase().as_str()));
        match (said("PIXI_LOCKED"), said("PIXI_FROZEN")) {
            (true, true) => Err(CliError::Usage("PIXI_LOCKED and PIXI_FROZEN contradict each other; unset one".into())),
            (_, frozen) => Ok(frozen),
        }
    }

    /// `--virtual-package` over `CONDA_OVERRIDE_*`.
    pub fn all_virtual_packages(&self) -> Result<Vec<VirtualPackage>, CliError> {
        with_overrides(&self.virtual_packages)
    }
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

/// Which workspace, for commands that take its configuration only.
#[derive(Debug, Args)]
pub struct Workspace {
    /// The workspace's directory, or its pixi.toml or pyproject.toml.
    #[arg(long, value_name = "PATH", default_value = ".")]
    manifest_path: PathBuf,
    /// The environment [default: the configured one, else `default`].
    #[arg(short, long, value_name = "NAME")]
    environment: Option<String>,
    /// The architectures that an index must have: amd64, arm64 [default: the configured ones, else all linux platforms of
    /// the environment].
    #[arg(long, value_delimiter = ',', value_name = "ARCH", value_parser = architecture)]
    arch: Vec<Architecture>,
}

impl Workspace {
    /// The same as a selection of all platforms.
    pub fn selection(&self) -> Selection {
        Selection {
            workspace: Some(self.manifest_path.clone()),
            environment: self.environment.clone(),
            arch: self.arch.clone(),
            ..Selection::default()
        }
    }
}

/// What `[tool.pixi-oci]` has too; said here, it wins.
#[derive(Debug, Args)]
#[command(next_help_heading = "Image (over [tool.pixi-oci])")]
pub struct ImageArgs {
    /// The base image: REF, docker://REF, oci:DIR[:TAG], docker-archive:FILE, containers-storage:REF, or scratch
    /// [default: docker.io/library/ubuntu:24.04].
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// The base image's glibc, e.g. 2.36, instead of looking for it.
    #[arg(long, value_name = "VERSION", value_parser = glibc)]
    pub base_glibc: Option<(u32, u32)>,
    /// Where the packages live in the image [default: /opt/pixi/env].
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// The working directory, and the workspace's place, in the image [default: /app].
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// The user that the container runs as: NAME or UID, with :GROUP or :GID.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The command: a line without shell syntax, or a JSON list.
    #[arg(long, value_name = "CMD", value_parser = argv, conflicts_with = "task")]
    cmd: Option<Argv>,
    /// A pixi task whose command becomes the image's.
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// A variable of the image. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A label of the image. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A file, directory or pattern of the workspace for the image: SRC or "SRC -> DEST". Repeatable; replaces `include`.
    #[arg(long, value_name = "SRC", value_parser = include)]
    include: Vec<Include>,
    /// A pattern that is left out of included directories. Repeatable; replaces `exclude`.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    #[command(flatten)]
    pub sources: SourceArgs,
    /// gzip or zstd, with a level: gzip:9, zstd:3 [default: gzip:6].
    #[arg(long, value_name = "NAME[:LEVEL]")]
    compression: Option<CompressionSetting>,
}

/// What to do with packages that are locked as sources.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// A wheel that was built elsewhere, in place of a locked source archive, git repository or directory. Repeatable;
    /// several wheels of one package are for different platforms.
    #[arg(long = "wheel", value_name = "FILE")]
    pub wheels: Vec<PathBuf>,
    /// Build the other sources, once. This runs their code: in a container without a network (podman), or, with `host`, on
    /// this machine, where it can read what you can.
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "podman")]
    build_sdists: Option<SdistPlace>,
}

/// Where sources are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SdistPlace {
    /// In rootless podman.
    Podman,
    /// On this machine, as you; only for its own architecture.
    Host,
}

impl SourceArgs {
    /// What is done about sources.
    pub fn inputs(&self) -> SourceInputs {
        let build = self.build_sdists.map(|place| match place {
            SdistPlace::Podman => BuildPlace::Container,
            SdistPlace::Host => BuildPlace::Host,
        });
        SourceInputs { wheels: self.wheels.clone(), build }
    }
}

/// A program with its arguments.
#[derive(Debug, Clone)]
pub struct Argv(pub Vec<String>);

/// Reads a JSON list, or a line as in the manifest.
pub fn argv(text: &str) -> Result<Argv, String> {
    if !text.trim_start().starts_with('[') {
        return split_plain(text)
            .map(Argv)
            .map_err(|why| format!("it {why}; write a JSON list, e.g. '[\"sh\", \"-c\", \"…\"]'"));
    }
    serde_json::from_str(text).map(Argv).map_err(|error| format!("not a JSON list of texts: {error}"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_string(), value.to_string()))
}

/// `SRC` or `SRC -> DEST`.
pub fn include(text: &str) -> Result<Include, String> {
    let (source, destination) = match text.split_once("->") {
        Some((source, destination)) => (source.trim(), Some(destination.trim().to_string())),
        None => (text.trim(), None),
    };
    if source.is_empty() || destination.as_ref().is_some_and(String::is_empty) {
        return Err("write SRC or \"SRC -> DEST\"".into());
    }
    Ok(Include { source: source.to_string(), destination, mode: None })
}

fn glibc(text: &str) -> Result<(u32, u32), String> {
    let parse = |part: &str| part.parse::<u32>().ok();
    let numbers = text.split_once('.').and_then(|(major, minor)| Some((parse(major)?, parse(minor)?)));
    numbers.ok_or("write MAJOR.MINOR, e.g. 2.36".to_string())
}

impl ImageArgs {
    /// The same in the form of a configuration.
    pub fn overrides(&self, selection: &Selection) -> OciConfig {
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        OciConfig {
            base: self.base.clone(),
            prefix: self.prefix.clone(),
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            cmd: self.cmd.clone().map(|argv| argv.0),
            task: self.task.clone(),
            env: self.env.clone(),
            labels: self.label.iter().cloned().collect(),
            include: (!self.include.is_empty()).then(|| self.include.clone()),
            exclude: some(&self.exclude),
            compression: self.compression,
            max_layers: selection.max_layers,
            ..OciConfig::default()
        }
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
