//! `pixi-oci verify product`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_airgap::{ProductManifest, check_product};
use pixi_oci_image::Architecture;
use pixi_oci_project::Session;
use pixi_oci_registry::Events;
use pixi_oci_store::{
    OciLayout,
    base::{BaseRef, resolve_base, write_base},
};
use pixi_oci_verify::{Check, RunError, Runs, Scratch, SoundProduct, Verdict, run_product};
use serde::Serialize;

use super::{RunArgs, image::wrong_things, show};
use crate::{
    args::RegistryArgs, error::CliError, means::Means, output::Output, output::progress::Progress, output::text::chain,
};

/// Check every byte of an air-gap product, bootstrap it without a network, and run a command in its environment.
///
/// A byte that changed, a file too much or too few: it is refused. Without a command, task, script or --base nothing is
/// run. It is bootstrapped in podman from a read-only mount, as a user that the image does not know. Exits with 3 if
/// anything is wrong, with 1 if something could not be run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci verify product work/product
  pixi-oci verify product work/product --out proof -- python -c 'import numpy'
  pixi-oci verify product work/product --base oci:base --arch amd64 --task test")]
pub struct ProductArgs {
    /// The product's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The image to bootstrap it in: a base image as in `build` [default: docker.io/library/ubuntu:24.04].
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// The environment to run the command in [default: `default`, or the only one].
    #[arg(short, long, value_name = "NAME")]
    environment: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    means: Means,
}

const DEFAULT_BASE: &str = "docker.io/library/ubuntu:24.04";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    digest: String,
    files: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<ProductManifest>,
    problems: Vec<String>,
}

impl ProductArgs {
    /// For a product that was just made.
    pub fn of(
        dir: PathBuf,
        environment: Option<String>,
        command: Vec<String>,
        registry: RegistryArgs,
        means: Means,
    ) -> Self {
        let run = RunArgs { script: None, task: None, arch: Vec::new(), as_user: None, out: None, command };
        Self { dir, base: None, environment, json: false, run, registry, means }
    }
}

pub fn run(args: &ProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let (verdict, summary) = verified(args, output)?;
    show::show(&verdict, &summary, args.run.out.as_deref(), args.json, output)
}

/// The same as a step of another command: what is found is said on stderr.
pub fn step(args: &ProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let (verdict, summary) = verified(args, output)?;
    Ok(show::say(&verdict, &summary, output))
}

fn verified(args: &ProductArgs, output: &Output) -> Result<(Verdict<Report>, String), CliError> {
    let checked = check_product(&args.dir, env!("CARGO_PKG_VERSION")).map_err(pixi_oci_airgap::Error::from)?;
    for problem in &checked.problems {
        output.failure(problem);
    }
    let sound = checked.problems.is_empty();
    let runs = match &checked.manifest {
        Some(manifest) if sound && (args.run.wanted() || args.base.is_some()) => {
            Some(bootstrap(args, manifest, output)?)
        }
        _ => None,
    };
    let shown = args.dir.display().to_string();
    let summary = match checked.problems.len() {
        0 => format!("{shown}: {} files; every byte is accounted for; {}", checked.files, checked.digest),
        n => format!("{}; nothing of it may be used", wrong_things(&shown, n)),
    };
    let lock_file = checked.manifest.as_ref().map(|product| product.lock_file_digest.to_string());
    let report = Report {
        digest: checked.digest.to_string(),
        files: checked.files,
        product: checked.manifest,
        problems: checked.problems,
    };
    Ok((Verdict::new(shown, lock_file, report, sound, runs), summary))
}

fn bootstrap(args: &ProductArgs, manifest: &ProductManifest, output: &Output) -> Result<Runs, CliError> {
    let progress = Progress::new(output);
    let events = progress.registry_events();
    let surroundings = crate::surroundings::containers();
    let environment = environment(args, manifest)?;
    let check = check(args, manifest, environment)?;
    let base = args.base.as_deref().unwrap_or(DEFAULT_BASE);
    let base = BaseRef::parse(base)?;
    let scratch = Scratch::new(&surroundings.scratch).map_err(RunError::from)?;
    let session = args.means.session(None, args.registry.access(), None)?;
    let layout = |architecture: &str| {
        let directory = scratch.path().join(architecture);
        get_base(&base, architecture, (&session, &events), &directory).map(|()| directory)
    };
    let interrupted = crate::interrupt::flag();
    let run = args.run.options(&surroundings, &interrupted);
    let product = SoundProduct {
        dir: &args.dir,
        name: &manifest.name,
        workspace_manifest: &manifest.workspace_manifest,
        platforms: &manifest.platforms,
        environment,
    };
    Ok(run_product(&product, &layout, &check, &run)?)
}

fn environment<'a>(args: &'a ProductArgs, manifest: &'a ProductManifest) -> Result<&'a str, CliError> {
    let mut names: Vec<&str> = manifest.environments.iter().map(|environment| environment.name.as_str()).collect();
    names.dedup();
    let wanted = match &args.environment {
        Some(name) => names.iter().find(|known| *known == name),
        None if names.len() == 1 => names.first(),
        None => names.iter().find(|known| **known == "default"),
    };
    wanted.copied().ok_or_else(|| {
        let wanted = args.environment.as_deref().unwrap_or("default");
        CliError::Usage(format!("the product has no environment {wanted}; -e takes one of {}", names.join(", ")))
    })
}

fn check(args: &ProductArgs, manifest: &ProductManifest, environment: &str) -> Result<Check, CliError> {
    let Some(name) = &args.run.task else { return Ok(args.run.check()) };
    let architectures = [("linux-64", Architecture::Amd64), ("linux-aarch64", Architecture::Arm64)];
    let wanted = architectures.into_iter().filter(|(subdir, architecture)| {
        let chosen = args.run.arch.is_empty() || args.run.arch.iter().any(|name| name == architecture.as_str());
        chosen && manifest.platforms.iter().any(|platform| platform == subdir)
    });
    let architectures: Vec<Architecture> = wanted.map(|(_, architecture)| architecture).collect();
    let project = args.dir.join(&manifest.name);
    let check = super::task_check(&project, environment, &architectures, name, &format!("/work/{}", manifest.name))?;
    match check.workdir {
        None => Ok(check),
        Some(_) => Err(CliError::Usage(format!("task `{name}` has a directory of its own; say the command after --"))),
    }
}

fn get_base(base: &BaseRef, architecture: &str, session: (&Session, &Events), to: &Path) -> Result<(), String> {
    let architecture: Architecture = architecture.parse().map_err(|_| format!("there is none for {architecture}"))?;
    let (session, events) = session;
    let options = session.base_options(Default::default(), events);
    let image = session.run(resolve_base(base, architecture, &options)).map_err(|error| chain(&error))?;
    let image = image.map_err(|error| chain(&error))?;
    let image = image.ok_or("a product needs a system around it, and `scratch` is none")?;
    let layout = OciLayout::open(to).map_err(|error| chain(&error))?;
    write_base(&image, &layout).map_err(|error| chain(&error))
}
