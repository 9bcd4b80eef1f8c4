//! `pixi-oci product`

mod from;

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_airgap::{ProductReport, ProductRequest, check_product, product};
use pixi_oci_image::Architecture;
use pixi_oci_project::{Declared, Inputs, Project, Session};
use pixi_oci_workspace::{Include, VirtualPackage};

use crate::{
    arguments::{Selection, SourceArgs, architecture, include},
    error::CliError,
    means::Means,
    output::Output,
    progress::{Progress, size},
    registries::RegistryArgs,
};

/// Write an air-gap product: a directory with the workspace, its packages and scripts for machines without a network.
///
/// Prints the product's path. Everything is made on this machine, for other architectures too; neither pixi nor a container
/// is needed. The same lock file and project give the same bytes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci product --workdir airgap                          # into airgap/product
  pixi-oci product -e prod -e test --platform linux-64 --workdir airgap ../tool
  pixi-oci product --workdir airgap --installer linux-aarch64=pixi-oci-aarch64
  airgap/product/bootstrap-project.sh --to /srv/app          # there, with pixi
  airgap/product/bootstrap-project.sh --to /srv/app --no-pixi")]
pub struct ProductArgs {
    /// The workspace: a directory, or its pixi.toml or pyproject.toml.
    #[arg(default_value = ".", value_name = "WORKSPACE")]
    workspace: PathBuf,
    /// The directory for product/, project/, resources/, pixi-cache/ and out/.
    #[arg(long, value_name = "DIR")]
    workdir: PathBuf,
    /// An environment. Repeatable [default: the configured one, else `default`].
    #[arg(short, long = "environment", value_name = "NAME")]
    environments: Vec<String>,
    /// Platforms by the manifest's names [default: all linux platforms of the environments].
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    platform: Vec<String>,
    /// Architectures: amd64, arm64.
    #[arg(long, value_delimiter = ',', value_name = "ARCH", value_parser = architecture)]
    arch: Vec<Architecture>,
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
    #[arg(long, value_name = "SRC", value_parser = include)]
    include: Vec<Include>,
    /// A pattern that is left out of included directories. Repeatable; replaces `exclude`.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    #[command(flatten)]
    sources: SourceArgs,
    /// The base image in which sources are built, as in `build` [default: the configured one].
    #[arg(long, value_name = "IMAGE", requires = "build_sdists")]
    base: Option<String>,
    /// What the machines have, e.g. __cuda=12.6; this machine is never asked. Repeatable.
    #[arg(long = "virtual-package", value_name = "NAME=VERSION")]
    virtual_packages: Vec<VirtualPackage>,
    /// Fail if the lock file is not what the manifest says now. This is the default; it takes back PIXI_FROZEN.
    #[arg(long, conflicts_with = "frozen")]
    locked: bool,
    /// Use the lock file as it is, without comparing it with the manifest. PIXI_FROZEN=true says the same.
    #[arg(long)]
    frozen: bool,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
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

/// The conda platform of this program.
pub fn own_platform() -> Option<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Some("linux-64"),
        "aarch64" => Some("linux-aarch64"),
        _ => None,
    }
}

/// Runs the command.
pub fn run(mut args: ProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let beside = args.means.session(None, args.registry.access(), None)?;
    let taken = args.from.take(&beside)?;
    if let Some(taken) = &taken {
        args.workspace.clone_from(&taken.workspace);
    }
    let selection = args.selection();
    let workspace = selection.open()?;
    let session = args.means.session(Some(&workspace), args.registry.access(), None)?;
    let declared = Declared::new(workspace.into(), args.inputs(&selection)?)?;
    let progress = Progress::new(output);
    let session = session.with_events(progress.listener());
    let result = projects(declared, &args.environments, &session)
        .map_err(pixi_oci_airgap::Error::from)
        .and_then(|projects| product(projects, &args.request(), &session));
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
    output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(ExitCode::SUCCESS)
}

impl ProductArgs {
    fn selection(&self) -> Selection {
        Selection {
            workspace: Some(self.workspace.clone()),
            arch: self.arch.clone(),
            platform: self.platform.clone(),
            locked: self.locked,
            frozen: self.frozen,
            virtual_packages: self.virtual_packages.clone(),
            ..Selection::default()
        }
    }

    fn inputs(&self, selection: &Selection) -> Result<Inputs, CliError> {
        let mut inputs = Inputs { sources: self.sources.inputs(), ..selection.inputs(None, &[])? };
        inputs.overrides.base = self.base.clone();
        inputs.overrides.include = (!self.include.is_empty()).then(|| self.include.clone());
        inputs.overrides.exclude = (!self.exclude.is_empty()).then(|| self.exclude.clone());
        Ok(inputs)
    }

    fn request(&self) -> ProductRequest {
        ProductRequest {
            workdir: self.workdir.clone(),
            resources: self.resources.clone(),
            with_pixi: self.with_pixi,
            own_installer: own_platform().zip(env::current_exe().ok()).map(|(name, path)| (name.to_string(), path)),
            installers: self.installers.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// The environments, by name, each once; the configured one if none is named.
fn projects(declared: Declared, names: &[String], session: &Session) -> Result<Vec<Project>, pixi_oci_plan::Error> {
    let names: BTreeSet<&String> = names.iter().collect();
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return Ok(vec![Project::open(declared, session)?]) };
    let inputs = Inputs { environment: Some(first.clone()), ..declared.inputs.clone() };
    let first = Project::open(Declared::new(declared.workspace, inputs)?, session)?;
    let others = names.map(|name| first.environment(Some(name.clone()))).collect::<Result<Vec<_>, _>>()?;
    Ok(std::iter::once(first).chain(others).collect())
}

/// For whoever comes later to see what was made.
fn write_report(report: &ProductReport, json: &str) -> Result<(), CliError> {
    let out = report.product.parent().unwrap_or(Path::new(".")).join("out");
    let path = out.join("product.json");
    std::fs::write(&path, format!("{json}\n"))
        .map_err(|source| CliError::Io { action: format!("write {}", path.display()), source })
}

/// Account for every byte of an air-gap product.
///
/// Each file is an unpacked file of a package whose digest is known, a file of the project that the product's manifest lists, or
/// one that pixi-oci generates. Prints the verdict; exits with 3 if anything is wrong.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci check-product airgap/product")]
pub struct CheckProductArgs {
    /// The product.
    #[arg(value_name = "DIR")]
    product: PathBuf,
}

/// So that CI can tell "it is wrong" from "it could not be looked at".
const FAILED: u8 = 3;

/// Runs `check-product`.
pub fn check(args: &CheckProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let problems = check_product(&args.product, env!("CARGO_PKG_VERSION"))?;
    for problem in &problems {
        output.failure(&format!("{} {}", problem.path, problem.what));
    }
    let shown = args.product.display();
    let verdict = match problems.len() {
        0 => format!("{shown}: every file is accounted for"),
        1 => format!("{shown}: 1 thing is wrong"),
        n => format!("{shown}: {n} things are wrong"),
    };
    output.result(&verdict).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
