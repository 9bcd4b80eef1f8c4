//! `pixi-oci verify rebuild`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_image::Architecture;
use pixi_oci_pipeline::{BuildReport, RELEASE};
use pixi_oci_project::{Declared, Inputs, LockUse, ProvenanceInputs, Recorded, RecordedBase};
use pixi_oci_verify::{
    Comparison, Origin, Report, RunError, Sameness, Scratch, Verdict, compare, read_origin, read_project, verify_layout,
};
use serde::Serialize;

use super::{image, show};
use crate::{
    args::{ImageArgs, RegistryArgs, Selection},
    commands::build,
    error::CliError,
    means::Means,
    output::Output,
};

/// Make an image again from its workspace and lock file, and compare every digest.
///
/// No layer is taken from a cache or a registry. What the workspace may not say any more is taken from the image's own
/// record: the digest of a base image that is named by a tag, the time, the commit. Say the same options as for `build`. Exits
/// with 3 if anything differs, and says which layers, with the first path that does.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci verify rebuild oci:dist/oci
  pixi-oci verify rebuild docker://ghcr.io/me/tool:1.0 ../tool --json
  pixi-oci verify rebuild oci:dist/oci:1.0 --arch amd64 --compression zstd:19 --cache-dir fresh")]
pub struct RebuildArgs {
    /// The image: oci:DIR[:TAG], or docker://REF, which is fetched.
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Keep report.json in this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: ImageArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    means: Means,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rebuilt {
    image: Report,
    made_with: Option<MadeWith>,
    /// Absent if the image is damaged.
    comparison: Option<Comparison>,
}

/// What a rebuild was given, and what it took from the image's record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MadeWith {
    pixi_oci: &'static str,
    lock_file_digest: String,
    environment: String,
    /// `SOURCE_DATE_EPOCH`
    created: Option<i64>,
    revision: Option<String>,
    /// The base images, by platform, with digest.
    bases: BTreeMap<String, String>,
}

pub fn run(args: &RebuildArgs, output: &Output) -> Result<ExitCode, CliError> {
    let surroundings = crate::surroundings::containers();
    let layout = image::Layout::find(&args.image, &args.registry, &surroundings.scratch, output)?;
    let report = verify_layout(&layout.dir, layout.tag.as_deref())?;
    if image::findings(&report.findings, output) > 0 {
        let rebuilt = Rebuilt { image: report, made_with: None, comparison: None };
        return finish(args, None, rebuilt, &format!("{}: it is damaged", args.image), output);
    }
    let wanted = architectures(args, &report)?;
    let scratch = Scratch::new(&surroundings.scratch).map_err(RunError::from)?;
    let again = scratch.path().join("again");
    let workspace = args.selection.open()?;
    let session = args.means.session(Some(&workspace), args.registry.access(), None)?;
    let inputs = inputs(args, &layout.dir, &report, &wanted)?;
    let provenance = inputs.provenance.clone();
    let to = format!("oci:{}", again.display());
    let declared = Declared::new(workspace.into(), inputs)?;
    let built = build::build_with_progress(declared, Some(&to), &session, output)?;
    let made = verify_layout(&again, None)?;
    let wants = |platform: &str| architecture(platform).is_some_and(|architecture| wanted.contains(&architecture));
    let comparison = compare((&layout.dir, &report), (&again, &made), &wants)?;
    for image in &comparison.images {
        image.lines().iter().for_each(|line| output.failure(line));
    }
    let summary = summary(&args.image, &comparison);
    let lock_file = Some(built.lock_file_digest.to_string());
    let made_with = Some(made_with(&provenance, &built));
    let rebuilt = Rebuilt { image: report, made_with, comparison: Some(comparison) };
    finish(args, lock_file, rebuilt, &summary, output)
}

fn finish(
    args: &RebuildArgs,
    lock_file: Option<String>,
    rebuilt: Rebuilt,
    summary: &str,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let same = rebuilt.comparison.as_ref().is_some_and(|comparison| comparison.sameness == Sameness::Identical);
    let verdict = Verdict::new(args.image.clone(), lock_file, rebuilt, same, None);
    show::show(&verdict, summary, args.out.as_deref(), args.json, output)
}

fn architecture(platform: &str) -> Option<Architecture> {
    platform.split('/').nth(1)?.parse().ok()
}

/// Those of the image, or those that were asked for.
fn architectures(args: &RebuildArgs, report: &Report) -> Result<Vec<Architecture>, CliError> {
    let mut there: Vec<Architecture> = report.images.iter().filter_map(|image| architecture(&image.platform)).collect();
    there.dedup();
    let asked = args.selection.targets.architectures();
    if let Some(missing) = asked.iter().find(|architecture| !there.contains(architecture)) {
        return Err(CliError::Usage(format!("{} has no image for {missing}", args.image)));
    }
    if !asked.is_empty() {
        there.retain(|architecture| asked.contains(architecture));
    }
    if there.is_empty() {
        return Err(CliError::Usage(format!("{} has no image of ours", args.image)));
    }
    Ok(there)
}

/// The inputs of the build that made the image, as far as they can be known.
fn inputs(args: &RebuildArgs, dir: &Path, report: &Report, wanted: &[Architecture]) -> Result<Inputs, CliError> {
    let inputs = args.selection.inputs(Some(&args.settings), &[])?;
    let read = |source| CliError::Io { action: "read what the image says of itself".into(), source };
    let (mut recorded, mut epoch, mut environment) = (Recorded::default(), None, None);
    for image in &report.images {
        let origin = read_origin(dir, image).map_err(read)?;
        epoch = epoch.or(epoch_of(&origin));
        recorded.version = origin.standard("version").map(str::to_owned);
        recorded.release = origin.annotations.get(RELEASE).cloned();
        recorded.revision = origin.standard("revision").map(str::to_owned);
        if let (Some(architecture), Some(digest)) = (architecture(&image.platform), origin.standard("base.digest")) {
            let name = origin.standard("base.name").map(str::to_owned);
            recorded.bases.extend(digest.parse().ok().map(|digest| (architecture, RecordedBase { name, digest })));
        }
        if environment.is_none() {
            environment = read_project(dir, image).map_err(read)?.environment;
        }
    }
    recorded.place = Some(std::path::absolute(dir).map_err(read)?);
    Ok(Inputs {
        environment: inputs.environment.or(environment),
        architectures: wanted.to_vec(),
        // What it was made at is known best by itself.
        provenance: ProvenanceInputs {
            epoch: epoch.or(inputs.provenance.epoch),
            recorded: Some(recorded),
            ..inputs.provenance.clone()
        },
        lock_use: if inputs.lock_use == LockUse::Frozen { LockUse::Frozen } else { LockUse::Locked },
        ..inputs
    })
}

fn epoch_of(origin: &Origin) -> Option<i64> {
    let time: jiff::Timestamp = origin.created.as_deref()?.parse().ok()?;
    Some(time.as_second()).filter(|seconds| *seconds >= 0)
}

fn made_with(provenance: &ProvenanceInputs, built: &BuildReport) -> MadeWith {
    let base = |image: &pixi_oci_pipeline::ImageReport| {
        let base = image.base.as_ref()?;
        let name = base.reference.split('@').next().unwrap_or_default();
        Some((image.platform.clone(), format!("{name}@{}", base.digest)))
    };
    MadeWith {
        pixi_oci: env!("CARGO_PKG_VERSION"),
        lock_file_digest: built.lock_file_digest.to_string(),
        environment: built.environment.clone(),
        created: provenance.epoch,
        revision: provenance.recorded.as_ref().and_then(|recorded| recorded.revision.clone()),
        bases: built.images.iter().filter_map(base).collect(),
    }
}

fn summary(name: &str, comparison: &Comparison) -> String {
    let images = comparison.images.len();
    let layers: usize = comparison.images.iter().map(|image| image.layers.len()).sum();
    let index = comparison.index.as_ref().map_or("", |_| ", and the index");
    match comparison.sameness {
        Sameness::Identical => {
            format!("{name}: made again, it is the same: {layers} layers, {images} configurations and manifests{index}")
        }
        Sameness::Content => format!("{name}: made again, it has the same files, compressed differently"),
        Sameness::Different => format!("{name}: made again, it is another image"),
    }
}
