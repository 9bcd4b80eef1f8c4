//! What the image is like: `[tool.pixi-oci]` for one run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pixi_oci_project::{BuildPlace, SourceInputs};
use pixi_oci_workspace::{CompressionSetting, Include, OciConfig, setting, split_plain};

/// Any key of `[tool.pixi-oci]`.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingArgs {
    /// A key of [tool.pixi-oci] for this run, as in TOML or without quotes: max-layers=60, prefix=/srv/env. Repeatable; see
    /// docs/configuration.md.
    #[arg(
        long = "set",
        value_name = "KEY=VALUE",
        value_parser = setting,
        help_heading = "Image (over [tool.pixi-oci])"
    )]
    settings: Vec<OciConfig>,
}

impl SettingArgs {
    /// The last one wins.
    pub fn overrides(&self) -> OciConfig {
        self.settings.iter().fold(OciConfig::default(), |below, setting| setting.clone().over(below))
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
    /// An annotation of the index and the images, which is also a label. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// A file, directory or pattern of the workspace for the image: SRC or "SRC -> DEST". Repeatable; replaces `include`.
    #[arg(long, value_name = "SRC")]
    include: Vec<Include>,
    #[command(flatten)]
    pub sources: SourceArgs,
    /// gzip or zstd, with a level: gzip:9, zstd:3 [default: gzip:6].
    #[arg(long, value_name = "NAME[:LEVEL]")]
    compression: Option<CompressionSetting>,
}

impl ImageArgs {
    /// The same in the form of a configuration.
    pub fn overrides(&self) -> OciConfig {
        OciConfig {
            base: self.base.clone(),
            workdir: self.workdir.clone(),
            user: self.user.clone(),
            cmd: self.cmd.clone().map(|argv| argv.0),
            task: self.task.clone(),
            env: self.env.clone(),
            labels: self.label.iter().cloned().collect(),
            annotations: self.annotation.iter().cloned().collect(),
            include: (!self.include.is_empty()).then(|| self.include.clone()),
            compression: self.compression,
            ..OciConfig::default()
        }
    }
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
    /// With `resolve`, uv finds what their builds require and the environment does not have, and pixi-oci-build.lock pins it.
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = "podman"
    )]
    build_sdists: Option<Vec<SdistBuild>>,
}

/// How sources are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SdistBuild {
    /// In rootless podman.
    Podman,
    /// On this machine, as you; only for its own architecture.
    Host,
    /// Find what builds need with uv, and pin it.
    Resolve,
}

impl SourceArgs {
    /// What is done about sources.
    pub fn inputs(&self) -> SourceInputs {
        let has = |how| self.build_sdists.iter().flatten().any(|said| *said == how);
        let place = if has(SdistBuild::Host) { BuildPlace::Host } else { BuildPlace::Container };
        SourceInputs {
            wheels: self.wheels.clone(),
            build: self.build_sdists.as_ref().map(|_| place),
            resolve: has(SdistBuild::Resolve),
        }
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
