//! `pixi-oci build`

use std::{env, process::ExitCode};

use clap::Args;
use pixi_oci_image::Architecture;
use pixi_oci_pipeline::BuildReport;
use pixi_oci_plan::{build, size};
use pixi_oci_podman::{find_container_engine, load};
use pixi_oci_project::{Declared, Project, Session};

use crate::{
    args::{ImageArgs, RegistryArgs, Selection},
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    output::progress::Progress,
    result::print_report,
};

/// Build the images of a locked workspace and write them to an OCI layout, an archive or SIF files.
///
/// Prints the reference with the digest of what was written. Contacts only the hosts that packages and base images
/// come from. The lock file must be what the manifest says now, unless --frozen is said.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci build                                    # into oci:dist/oci, for all linux platforms
  pixi-oci build -e prod --arch amd64,arm64 ../tool
  pixi-oci build --base scratch -o oci-archive:tool.tar:1.0
  pixi-oci build --arch amd64 -o sif:tool.sif       # for Apptainer and Singularity
  podman run --rm \"$(pixi-oci build --load)\"         # podman or docker gets it, and runs it")]
pub struct BuildArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Where to write: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], which holds one
    /// architecture, or sif:FILE, with a file for each [default: oci:dist/oci in the workspace].
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

pub fn run(args: BuildArgs, output: &Output) -> Result<ExitCode, CliError> {
    let workspace = args.selection.open()?;
    let session = args.means.session(Some(&workspace), args.registry.access(), Some(&args.layers))?;
    let inputs = args.selection.inputs(Some(&args.image), &args.layers.cache_from)?;
    let declared = Declared::new(workspace.into(), inputs)?;
    if let Some(name) = &args.load {
        return load_image(name, args.json, declared, &session, output);
    }
    let report = build_with_progress(declared, args.output.as_deref(), &session, output)?;
    let text = || format!("{}@{}", report.reference, report.digest);
    print_report(&report, args.json, text, output)
}

pub fn build_with_progress(
    declared: Declared,
    to: Option<&str>,
    session: &Session,
    output: &Output,
) -> Result<BuildReport, CliError> {
    let progress = Progress::new(output);
    let session = session.with_events(progress.listener());
    let result = Project::open(declared, &session)
        .map_err(pixi_oci_plan::Error::from)
        .and_then(|project| build(&project, to, &session));
    progress.finish();
    let report = result?;
    for image in &report.images {
        let total: u64 = image.layers.iter().map(|layer| layer.size).sum();
        output.say(&format!("{}: {} layers, {}", image.platform, image.layers.len(), size(total)));
    }
    Ok(report)
}

/// Through an archive, because podman and docker both read one, and neither reads a layout from elsewhere.
fn load_image(
    name: &str,
    json: bool,
    mut declared: Declared,
    session: &Session,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let engine = find_container_engine(&env::var_os("PATH").unwrap_or_default())?;
    let host = env::consts::ARCH;
    let host = Architecture::from_any_name(host)
        .map_err(|_| CliError::Usage(format!("no image runs on this machine's architecture {host}")))?;
    let io = |source| CliError::Io { action: "make a temporary directory".into(), source };
    let directory = tempfile::tempdir().map_err(io)?;
    let archive = directory.path().join("image.tar");
    if declared.inputs.architectures.is_empty() && declared.inputs.platforms.is_empty() {
        declared.inputs.architectures = vec![host];
    }
    let reference = match name {
        "" => declared.image_name(),
        name => name.to_string(),
    };
    let to = format!("docker-archive:{}:{reference}", archive.display());
    let mut report = build_with_progress(declared, Some(&to), session, output)?;
    let said = load(&engine, &archive)?;
    output.note(said.trim());
    report.reference = reference.clone();
    print_report(&report, json, || reference, output)
}
