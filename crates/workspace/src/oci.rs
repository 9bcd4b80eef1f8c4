//! `[tool.pixi-oci]`: how a workspace wants its images. Flags override it; an environment's part overrides the rest.

mod reader;
mod writer;

use std::collections::BTreeMap;

use crate::VirtualPackage;
pub(crate) use reader::read;
pub use writer::{with_bases, write_manifest};

/// The table `[tool.pixi-oci]`, or one of its `[tool.pixi-oci.environments.ENV]`. `None` means "not said".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OciConfig {
    /// Where images are published, e.g. `ghcr.io/me/app`.
    pub repositories: Option<Vec<String>>,
    /// Tags to publish under.
    pub tags: Option<Vec<String>>,
    /// The base image: `scratch`, a registry reference, `oci:DIR`, …
    pub base: Option<String>,
    /// Architectures, e.g. `amd64`.
    pub arch: Option<Vec<String>>,
    /// The environment to take when none is named. Not in an environment's part.
    pub environment: Option<String>,
    /// Where the environment lives in the image; absolute.
    pub prefix: Option<String>,
    /// The working directory in the image; absolute.
    pub workdir: Option<String>,
    /// Whom the image's process runs as: `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// How versions are written: `semver`, `pep440` or `calver`; `None`: what is dotted numbers is a release.
    pub version_scheme: Option<String>,
    /// Where the sources are, for the annotation of that name.
    pub source: Option<String>,
    /// Where more is said, likewise.
    pub url: Option<String>,
    /// The entrypoint, as program and arguments.
    pub entrypoint: Option<Vec<String>>,
    /// What runs, as program and arguments. Never together with [`task`](Self::task).
    pub cmd: Option<Vec<String>>,
    /// The task that runs. Never together with [`cmd`](Self::cmd).
    pub task: Option<String>,
    /// Variables of the image, in the manifest's order; no name twice.
    pub env: Vec<(String, String)>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Ports the image listens on.
    pub ports: Option<Vec<Port>>,
    /// Application files to put into the image.
    pub include: Option<Vec<Include>>,
    /// Globs of application files to leave out.
    pub exclude: Option<Vec<String>>,
    /// Empty directories to make, e.g. mount points; absolute.
    pub directories: Option<Vec<String>>,
    /// Wheels in place of locked sources; paths or globs relative to the workspace.
    pub wheels: Option<Vec<String>>,
    /// The sha256 of packages that the lock file has none of, by name. Not in an environment's part.
    pub hashes: BTreeMap<String, String>,
    /// The environment that sources are built in, for what builds need and images do not.
    pub build_environment: Option<String>,
    /// How layers are compressed.
    pub compression: Option<CompressionSetting>,
    /// At most so many layers.
    pub max_layers: Option<u32>,
    /// What the target is assumed to have.
    pub virtual_packages: Option<Vec<VirtualPackage>>,
    /// A command that prints a registry token, as program and arguments.
    pub token_command: Option<Vec<String>>,
    /// What differs per environment.
    pub environments: BTreeMap<String, OciConfig>,
}

/// A port, written `8080` or `53/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The number; not 0.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A port's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The default.
    Tcp,
    /// `/udp`
    Udp,
    /// `/sctp`
    Sctp,
}

impl std::fmt::Display for Port {
    /// As OCI's `ExposedPorts` has it, e.g. `8080/tcp`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// Application files to include: `"SRC"`, `"SRC -> DEST"` or `{ src, dest, mode }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// A path or glob relative to the workspace.
    pub source: String,
    /// Where it goes; relative to the working directory, or absolute. `None`: to the same relative path.
    pub destination: Option<String>,
    /// Permission bits for the files, at most 0o777. `None`: by their executable bit.
    pub mode: Option<u32>,
}

/// `gzip`, `zstd`, or either with a level: `gzip:9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSetting {
    /// The algorithm.
    pub algorithm: CompressionAlgorithm,
    /// Its level: gzip 1 to 12, zstd 1 to 19. `None`: our default.
    pub level: Option<u8>,
}

/// The compressions a layer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionAlgorithm {
    /// Understood by everything.
    Gzip,
    /// Smaller and faster, for readers of this decade.
    Zstd,
}

impl std::str::FromStr for CompressionSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "`{text}` is not a compression: write `gzip` or `zstd`, or with a level `gzip:1` to `gzip:12`, `zstd:1` to `zstd:19`"
            )
        };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| error())?)),
            None => (text, None),
        };
        let (algorithm, highest) = match name {
            "gzip" => (CompressionAlgorithm::Gzip, 12),
            "zstd" => (CompressionAlgorithm::Zstd, 19),
            _ => return Err(error()),
        };
        if level.is_some_and(|level| !(1..=highest).contains(&level)) {
            return Err(error());
        }
        Ok(Self { algorithm, level })
    }
}

impl OciConfig {
    /// What holds for one environment: its own part over the general one. Single values and lists override, `env` and
    /// `labels` are merged by name. A `cmd` in the part also overrides a general `task`, and the other way round.
    pub fn for_environment(&self, environment: &str) -> OciConfig {
        let mut merged = OciConfig { environments: BTreeMap::new(), ..self.clone() };
        let Some(own) = self.environments.get(environment).cloned() else { return merged };
        if own.cmd.is_some() || own.task.is_some() {
            merged.cmd = own.cmd;
            merged.task = own.task;
        }
        for (name, value) in own.env {
            match merged.env.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => merged.env.push((name, value)),
            }
        }
        merged.labels.extend(own.labels);
        OciConfig {
            repositories: own.repositories.or(merged.repositories),
            tags: own.tags.or(merged.tags),
            version_scheme: own.version_scheme.or(merged.version_scheme),
            source: own.source.or(merged.source),
            url: own.url.or(merged.url),
            base: own.base.or(merged.base),
            arch: own.arch.or(merged.arch),
            prefix: own.prefix.or(merged.prefix),
            workdir: own.workdir.or(merged.workdir),
            user: own.user.or(merged.user),
            entrypoint: own.entrypoint.or(merged.entrypoint),
            ports: own.ports.or(merged.ports),
            include: own.include.or(merged.include),
            exclude: own.exclude.or(merged.exclude),
            directories: own.directories.or(merged.directories),
            wheels: own.wheels.or(merged.wheels),
            build_environment: own.build_environment.or(merged.build_environment),
            compression: own.compression.or(merged.compression),
            max_layers: own.max_layers.or(merged.max_layers),
            virtual_packages: own.virtual_packages.or(merged.virtual_packages),
            token_command: own.token_command.or(merged.token_command),
            ..merged
        }
    }
}
