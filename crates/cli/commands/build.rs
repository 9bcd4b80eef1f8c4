//! `pixi-oci build`

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_build::{BuildReport, BuildRequest, Client, RepositoryRef, build, find_container_engine, load};
use pixi_oci_publish::registry::RegistryAccess;

use crate::{
    arguments::{ImageArgs, Selection},
    channels::{Channels, ConfigArgs},
    error::CliError,
    output::Output,
    progress::{Progress, size},
    registries::RegistryArgs,
};

/// Build the images of a locked workspace and write them to an OCI layout or archive.
///
/// Prints the reference with the digest of what was written. Contacts only the hosts that packages and base images
/// come from. The lock file must be what the manifest says now, unless --frozen is said.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci build                                    # ./pixi.lock into oci:dist/oci, all linux platforms
  pixi-oci build -e prod --arch amd64,arm64 ../tool
  pixi-oci build --base scratch -o oci-archive:tool.tar:1.0
  pixi-oci build --load                             # and then: podman run --rm NAME
  podman run --rm \"$(pixi-oci build --arch amd64)\" python --version")]
pub struct BuildArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Where to write: oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:REF], which holds one
    /// architecture [default: oci:dist/oci in the workspace].
    #[arg(short, long, value_name = "DEST")]
    pub output: Option<String>,
    /// Hand this machine's image to podman or docker instead, under NAME[:TAG] [default: the workspace's name].
    #[arg(long, value_name = "REF", num_args = 0..=1, default_missing_value = "", conflicts_with = "output")]
    pub load: Option<String>,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub means: Means,
    /// Print the result as one JSON document: every digest, diff id, size, and the packages of each layer.
    #[arg(long)]
    pub json: bool,
}

impl BuildArgs {
    fn request(&self, channels: &Channels) -> Result<BuildRequest, CliError> {
        request(&self.selection, Some(&self.image), &self.means, channels, self.registry.access())
    }
}

/// With what it is done.
#[derive(Debug, Args)]
pub struct Means {
    /// Use only the cache and files of this machine.
    #[arg(long, env = "PIXI_OFFLINE", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::FalseyValueParser::new())]
    offline: Option<bool>,
    /// Where downloaded archives and base images are kept [default: $XDG_CACHE_HOME/pixi-oci].
    #[arg(long, value_name = "DIR", env = "PIXI_OCI_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// How much of finished layers is kept there for later builds, e.g. 500MB or 50GB; with 0 all layers are made anew.
    #[arg(long, value_name = "SIZE", env = "PIXI_OCI_LAYER_CACHE_SIZE", default_value = "20GB", value_parser = bytes)]
    layer_cache_size: u64,
    /// How much of downloaded archives is kept there for later builds; what was not used for longest goes first.
    #[arg(long, value_name = "SIZE", env = "PIXI_OCI_ARCHIVE_CACHE_SIZE", default_value = "20GB", value_parser = bytes)]
    archive_cache_size: u64,
    /// A published image whose layers are taken where they are the same: docker://HOST/REPOSITORY[:TAG]. Repeatable. Their
    /// packages are not downloaded then.
    #[arg(long, value_name = "IMAGE")]
    cache_from: Vec<RepositoryRef>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A number of bytes, with a decimal or binary unit.
fn bytes(text: &str) -> Result<u64, String> {
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
    number.checked_mul(unit).ok_or_else(|| "that is more than there is".into())
}

impl Means {
    /// Whether layers of published images are to be taken.
    pub fn takes_published(&self) -> bool {
        !self.cache_from.is_empty()
    }

    /// Where packages come from.
    pub fn channels(&self, workspace: &Path) -> Result<Channels, CliError> {
        Channels::read(workspace, &self.config, self.offline)
    }

    /// Where packages come from; of no workspace, there are none.
    pub fn channels_without_workspace(&self) -> Result<Channels, CliError> {
        Channels::without_workspace(&self.config, self.offline)
    }

    /// The cache's directory.
    pub fn cache(&self) -> Result<PathBuf, CliError> {
        let absolute = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        self.cache_dir
            .clone()
            .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("pixi-oci")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/pixi-oci")))
            .ok_or_else(|| CliError::Usage("there is no HOME; say where to keep archives with --cache-dir DIR".into()))
    }
}

/// So much content of packages may wait in memory: enough for most packages whole. What exceeds it goes through the page cache.
pub const MEMORY: usize = 128 << 20;

/// The request of `build`, `publish` and `plan`, without a destination.
pub fn request(
    selection: &Selection,
    image: Option<&ImageArgs>,
    means: &Means,
    channels: &Channels,
    registries: RegistryAccess,
) -> Result<BuildRequest, CliError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(BuildRequest {
        workspace: selection.workspace(),
        frozen: selection.frozen()?,
        environment: selection.environment.clone(),
        architectures: selection.arch.clone(),
        platforms: selection.platform.clone(),
        output: None,
        overrides: image
            .map(|image| image.overrides(selection))
            .unwrap_or_else(|| pixi_oci_build::OciConfig { max_layers: selection.max_layers, ..Default::default() }),
        virtual_packages: selection.all_virtual_packages()?,
        base_glibc: image.and_then(|image| image.base_glibc),
        epoch: epoch()?,
        recorded: None,
        registries,
        wheels: image.map(|image| image.sources.wheels.clone()).unwrap_or_default(),
        build_sdists: image.is_some_and(|image| image.sources.build_sdists),
        cache_dir: means.cache()?,
        layer_cache: means.layer_cache_size,
        archive_cache: means.archive_cache_size,
        cache_from: means.cache_from.clone(),
        offline: channels.offline(),
        downloads: channels.downloads(),
        interrupted: crate::interrupt::flag(),
        // One more than cores, because a layer waits now and then while its pieces are compressed. Beyond 16, memory grows
        // and the disk does not get faster.
        may_lock: !selection.locked && !selection.frozen()?,
        lock_means: channels.lock_means(),
        now: jiff::Timestamp::now(),
        threads: threads.min(16) + 1,
        memory: MEMORY,
    })
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org): seconds since 1970.
fn epoch() -> Result<Option<i64>, CliError> {
    let Ok(text) = env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let number = text.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
    number
        .map(Some)
        .ok_or_else(|| CliError::Usage(format!("SOURCE_DATE_EPOCH={text:?} is not a number of seconds since 1970")))
}

/// Runs the command.
pub fn run(args: BuildArgs, output: &Output) -> Result<ExitCode, CliError> {
    let channels = args.means.channels(&args.selection.workspace())?;
    let client = Client::new(&channels.client)?;
    if let Some(name) = &args.load {
        return load_image(&args, name, &channels, &client, output);
    }
    let request = BuildRequest { output: args.output.clone(), ..args.request(&channels)? };
    let report = build_with_progress(&request, &client, output)?;
    show(&report, args.json, output)
}

/// Builds, and shows what is done.
pub fn build_with_progress(request: &BuildRequest, client: &Client, output: &Output) -> Result<BuildReport, CliError> {
    let progress = Progress::new(output);
    let result = build(request, client, &|event| progress.on_event(event));
    progress.finish();
    let report = result?;
    for image in &report.images {
        let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
        output.note(&format!("{}: {} layers, {}", image.platform, image.layers.len(), size(total)));
    }
    Ok(report)
}

fn show(report: &BuildReport, json: bool, output: &Output) -> Result<ExitCode, CliError> {
    let text =
        if json { serde_json::to_string_pretty(report)? } else { format!("{}@{}", report.reference, report.digest) };
    output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(ExitCode::SUCCESS)
}

/// Through an archive, because podman and docker both read one, and neither reads a layout from elsewhere.
fn load_image(
    args: &BuildArgs,
    name: &str,
    channels: &Channels,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let engine = find_container_engine(&env::var_os("PATH").unwrap_or_default())?;
    let host = match env::consts::ARCH {
        "x86_64" => pixi_oci_build::Architecture::Amd64,
        "aarch64" => pixi_oci_build::Architecture::Arm64,
        other => return Err(CliError::Usage(format!("no image runs on this machine's architecture {other}"))),
    };
    let io = |source| CliError::Io { action: "make a temporary directory".into(), source };
    let directory = tempfile::tempdir().map_err(io)?;
    let archive = directory.path().join("image.tar");
    let mut request = args.request(channels)?;
    if request.architectures.is_empty() && request.platforms.is_empty() {
        request.architectures = vec![host];
    }
    let reference = match name {
        "" => pixi_oci_build::image_name(&request)?,
        name => name.to_string(),
    };
    request.output = Some(format!("docker-archive:{}:{reference}", archive.display()));
    let mut report = build_with_progress(&request, client, output)?;
    let said = load(&engine, &archive)?;
    output.note(said.trim());
    report.reference = reference.clone();
    if args.json {
        return show(&report, true, output);
    }
    output.result(&reference).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(ExitCode::SUCCESS)
}
