//! With what the work is done: the network, the cache, and layers that are there already.

use std::{env, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use pixi_oci_cachedir::Root;
use pixi_oci_project::{Caches, Resources, Session};
use pixi_oci_registry::{RegistryAccess, RepositoryRef};
use pixi_oci_workspace::Workspace;

use crate::{
    channels::{Channels, ConfigArgs},
    error::CliError,
};

/// Downloads at a time, where pixi's configuration does not say: as many as pixi's.
const DOWNLOADS: NonZeroUsize = NonZeroUsize::new(50).expect("not zero");

/// So much content of packages may wait in memory: enough for most packages whole. What exceeds it goes through the page cache.
pub const MEMORY: usize = 128 << 20;

/// Where packages come from, and where what was fetched is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network and cache")]
pub struct Means {
    /// Use only the cache and files of this machine.
    #[arg(
        long,
        env = "PIXI_OFFLINE",
        hide_env_values = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL",
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    offline: Option<bool>,
    #[command(flatten)]
    cache: CacheDir,
    /// Hash everything that is used of the cache, instead of trusting files whose size, times and inode are as they were.
    #[arg(long)]
    check_cache: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Means {
    /// The session of a command. `layers` is `None` for commands that neither take nor keep finished layers.
    pub fn session(
        &self,
        workspace: Option<&Workspace>,
        registries: RegistryAccess,
        layers: Option<&LayerArgs>,
    ) -> Result<Session, CliError> {
        let channels = Channels::read(workspace, &self.config, self.offline)?;
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let size = |kind: &str| cache_size(&format!("PIXI_OCI_{kind}_CACHE_SIZE"));
        let caches = Caches {
            dir: Root::new(self.cache.path()?).check_all(self.check_cache),
            layers: if layers.is_some() { size("LAYER")? } else { 0 },
            archives: size("ARCHIVE")?,
        };
        let resources = Resources {
            downloads: channels.config.concurrent_downloads.unwrap_or(DOWNLOADS),
            solves: channels.config.concurrent_solves.unwrap_or(cores),
            // One more than cores, because a layer waits now and then while its pieces are compressed. Beyond 16, memory
            // grows and the disk does not get faster.
            threads: cores.get().min(16) + 1,
            memory: MEMORY,
            containers: crate::surroundings::containers(),
        };
        let offline = channels.client.offline;
        let mut session = Session::new(channels.client, registries, caches, resources, crate::interrupt::flag());
        session.offline = offline;
        Ok(session)
    }
}

/// Where the cache is.
#[derive(Debug, Args)]
pub struct CacheDir {
    /// Where packages, base images and finished layers are kept [default: $XDG_CACHE_HOME/pixi-oci, else ~/.cache/pixi-oci].
    #[arg(long, value_name = "DIR", env = "PIXI_OCI_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,
}

impl CacheDir {
    pub fn path(&self) -> Result<PathBuf, CliError> {
        let absolute = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        self.cache_dir
            .clone()
            .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("pixi-oci")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/pixi-oci")))
            .ok_or_else(|| CliError::Usage("there is no HOME; say where to keep archives with --cache-dir DIR".into()))
    }
}

/// Layers that need not be made, for the commands that make images.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network and cache")]
pub struct LayerArgs {
    /// A published image whose layers are taken where they are the same: docker://HOST/REPOSITORY[:TAG]. Repeatable. Their
    /// packages are not downloaded then.
    #[arg(long, value_name = "IMAGE")]
    pub cache_from: Vec<RepositoryRef>,
}

/// How much of finished layers, or of downloaded archives, is kept for later builds.
fn cache_size(variable: &str) -> Result<u64, CliError> {
    match env::var(variable) {
        Ok(text) if !text.is_empty() => {
            bytes(&text).map_err(|why| CliError::Usage(format!("{variable}={text:?}: {why}")))
        }
        _ => Ok(20_000_000_000),
    }
}

/// A number of bytes, with a decimal or binary unit.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit: u64 = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write a number with kB, MB, GB, KiB, MiB or GiB, e.g. 20GB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "write a whole number first, e.g. 20GB".to_string())?;
    number.checked_mul(unit).ok_or_else(|| "the size is too large".into())
}
