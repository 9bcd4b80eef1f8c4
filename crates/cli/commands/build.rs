//! `pixi-oci build`

use std::{env, process::ExitCode};

use clap::Args;
use pixi_oci_build::{BuildReport, BuildRequest, build, find_container_engine, load};
use pixi_oci_net::Client;
use pixi_oci_publish::registry::RegistryAccess;

use crate::{
    arguments::{ImageArgs, Selection},
    channels::Channels,
    error::CliError,
    means::{LayerArgs, Means},
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
  pixi-oci build                                    # into oci:dist/oci, for all linux platforms
  pixi-oci build -e prod --arch amd64,arm64 ../tool
  pixi-oci build --base scratch -o oci-archive:tool.tar:1.0
  podman run --rm \"$(pixi-oci build --load)\"         # podman or docker gets it, and runs it")]
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
    /// Print the result as one JSON document: every digest, diff id, size, and the packages of each layer.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub means: Means,
    #[command(flatten)]
    pub layers: LayerArgs,
}

impl BuildArgs {
    fn request(&self, channels: &Channels) -> Result<BuildRequest, CliError> {
        request(&self.selection, Some(&self.image), Some(&self.layers), &self.means, channels, self.registry.access())
    }
}

/// So much content of packages may wait in memory: enough for most packages whole. What exceeds it goes through the page cache.
pub const MEMORY: usize = 128 << 20;

/// The request of every command that builds, without a destination. Those that make images say how, and which layers are
/// not made.
pub fn request(
    selection: &Selection,
    image: Option<&ImageArgs>,
    layers: Option<&LayerArgs>,
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
        overrides: image.map(|image| image.overrides(selection)).unwrap_or_else(|| pixi_oci_workspace::OciConfig {
            max_layers: selection.max_layers,
            ..Default::default()
        }),
        virtual_packages: selection.all_virtual_packages()?,
        base_glibc: image.and_then(|image| image.base_glibc),
        epoch: epoch()?,
        recorded: None,
        registries,
        wheels: image.map(|image| image.sources.wheels.clone()).unwrap_or_default(),
        build_sdists: image.and_then(|image| image.sources.build_place()),
        cache_dir: means.cache()?,
        layer_cache: layers.map_or(0, |layers| layers.layer_cache_size),
        archive_cache: means.archive_cache_size,
        cache_from: layers.map(|layers| layers.cache_from.clone()).unwrap_or_default(),
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
        output.say(&format!("{}: {} layers, {}", image.platform, image.layers.len(), size(total)));
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
