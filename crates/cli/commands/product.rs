//! `pixi-oci product`

mod from;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_airgap::{Digest, ProductReport, ProductRequest, product};
use pixi_oci_plan::size;
use pixi_oci_project::{Declared, Inputs, OUTPUTS, Project};
use pixi_oci_workspace::{Include, OciConfig};

use crate::{
    args::{LockFileArgs, RegistryArgs, Selection, SettingArgs, SourceArgs, Targets, WorkspacePath},
    commands::verify::product::{ProductArgs as VerifyProductArgs, step},
    error::CliError,
    means::Means,
    output::Output,
    output::progress::Progress,
    result::print,
};

/// Write an air-gap product: a directory with the workspace, its packages and scripts for machines without a network.
///
/// Prints the product's path. Everything is made on this machine, for other architectures too; neither pixi nor a container
/// is needed. The same lock file and project give the same bytes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci product                                           # into dist/airgap/product
  pixi-oci product --workdir airgap --verify -- python -c 'import numpy'
  pixi-oci product -e prod -e test --platform linux-64 --workdir airgap ../tool
  pixi-oci product --workdir airgap --installer linux-aarch64=pixi-oci-aarch64
  airgap/product/bootstrap-project.sh --to /srv/app          # there, with pixi
  airgap/product/bootstrap-project.sh --to /srv/app --no-pixi")]
pub struct ProductArgs {
    #[command(flatten)]
    workspace: WorkspacePath,
    /// The directory for product/, project/, resources/, pixi-cache/ and out/ [default: dist/airgap in the workspace].
    #[arg(long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// An environment. Repeatable [default: the configured one, else `default`].
    #[arg(short, long = "environment", value_name = "NAME")]
    environments: Vec<String>,
    #[command(flatten)]
    targets: Targets,
    /// Files that go along as res/ [default: resources/ in the work directory, if it has files].
    #[arg(long, value_name = "DIR")]
    resources: Option<PathBuf>,
    /// Take pixi along, from the package `pixi` of the environments.
    #[arg(long)]
    with_pixi: bool,
    /// The pixi-oci of a platform, for installing without pixi. Repeatable [default: this program, for its own platform].
    #[arg(long = "installer", value_name = "PLATFORM=FILE", value_parser = installer)]
    installers: Vec<(String, PathBuf)>,
    /// A file, directory or pattern of the workspace for the product. Repeatable; replaces `include`.
    #[arg(long, value_name = "SRC")]
    include: Vec<Include>,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    lock: LockFileArgs,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
    /// Verify the product when it is made, as `verify product` does; a command after `--` is run in its environment.
    #[arg(long)]
    verify: bool,
    /// What --verify runs, with its arguments.
    #[arg(last = true, value_name = "CMD", requires = "verify")]
    command: Vec<String>,
    #[command(flatten)]
    from: from::FromArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    means: Means,
}

fn installer(text: &str) -> Result<(String, PathBuf), String> {
    let (platform, file) = text.split_once('=').ok_or("write PLATFORM=FILE, e.g. linux-aarch64=./pixi-oci")?;
    Ok((platform.to_string(), file.into()))
}

pub fn own_platform() -> Option<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Some("linux-64"),
        "aarch64" => Some("linux-aarch64"),
        _ => None,
    }
}

pub fn run(mut args: ProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let beside = args.means.session(None, args.registry.access(), None)?;
    let taken = args.from.take(&beside)?;
    if let Some(taken) = &taken {
        args.workspace = taken.workspace.clone().into();
    }
    let image = taken.as_ref().and_then(|taken| taken.image);
    let selection = args.selection();
    let workspace = selection.open()?;
    let session = args.means.session(Some(&workspace), args.registry.access(), None)?;
    let workdir = args.workdir.clone().unwrap_or_else(|| workspace.root.join(OUTPUTS[1]));
    let declared = Declared::new(workspace.into(), args.inputs(&selection)?)?;
    let progress = Progress::new(output);
    let session = session.with_events(progress.listener());
    let result = Project::open_named(declared, &args.environments, &session)
        .map_err(pixi_oci_airgap::Error::from)
        .and_then(|projects| product(projects, &args.request(workdir, image), &session));
    session.report_damage();
    progress.finish();
    let report = result?;
    for environment in &report.environments {
        output.note(&format!(
            "{} {}: {} packages, {}",
            environment.name,
            environment.platform,
            environment.packages,
            size(environment.bytes)
        ));
    }
    for what in &report.executed {
        output.note(what);
    }
    output.note(&format!("{}", report.digest));
    let json = serde_json::to_string_pretty(&report)?;
    write_report(&report, &json)?;
    let text = if args.json { json } else { report.product.display().to_string() };
    print(&text, output)?;
    if !args.verify {
        return Ok(ExitCode::SUCCESS);
    }
    let environment = args.environments.into_iter().next();
    step(&VerifyProductArgs::of(report.product, environment, args.command, args.registry, args.means), output)
}

impl ProductArgs {
    fn selection(&self) -> Selection {
        Selection {
            workspace: self.workspace.clone(),
            targets: self.targets.clone(),
            lock: self.lock.clone(),
            settings: self.settings.clone(),
            environment: None,
        }
    }

    fn inputs(&self, selection: &Selection) -> Result<Inputs, CliError> {
        let include = (!self.include.is_empty()).then(|| self.include.clone());
        let inputs = selection.inputs(None, &[])?;
        let overrides = OciConfig { include, ..OciConfig::default() }.over(inputs.overrides);
        Ok(Inputs { sources: self.sources.inputs(), overrides, ..inputs })
    }

    fn request(&self, workdir: PathBuf, image: Option<Digest>) -> ProductRequest {
        ProductRequest {
            workdir,
            resources: self.resources.clone(),
            with_pixi: self.with_pixi,
            own_installer: own_platform().zip(env::current_exe().ok()).map(|(name, path)| (name.to_string(), path)),
            installers: self.installers.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            image,
        }
    }
}

/// For whoever comes later to see what was made.
fn write_report(report: &ProductReport, json: &str) -> Result<(), CliError> {
    let out = report.product.parent().unwrap_or(Path::new(".")).join("out");
    let path = out.join("product.json");
    std::fs::write(&path, format!("{json}\n"))
        .map_err(|source| CliError::Io { action: format!("write {}", path.display()), source })
}
