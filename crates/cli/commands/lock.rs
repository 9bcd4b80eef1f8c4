//! `pixi-oci lock`

use std::process::ExitCode;

use clap::Args;
use pixi_oci_project::{Inputs, PinReport, lock, pin_bases};
use pixi_oci_workspace::VirtualPackage;

use crate::{
    args::{RegistryArgs, Selection, WorkspacePath, selection::with_overrides},
    error::CliError,
    means::Means,
    output::Output,
    output::progress::Progress,
    output::text::printable,
    result::print_report,
};

/// Choose packages for every environment and platform of the workspace, and write pixi.lock.
///
/// The packages of the present lock file are kept where they can be, as `pixi lock` does. Prints the file's path.
/// The build machine is asked nothing: what targets have is what the manifest says.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci lock
  pixi-oci lock --check ../tool     # exits with 1 if the lock file would change, and leaves it
  pixi-oci lock --virtual-package __cuda=12.6
  pixi-oci lock --base              # base = \"docker.io/library/ubuntu:24.04@sha256:...\"")]
pub struct LockArgs {
    #[command(flatten)]
    workspace: WorkspacePath,
    /// Only say what would change, and fail if anything would.
    #[arg(long)]
    check: bool,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// Pin the base images instead: the digest that their names mean now goes into [tool.pixi-oci]. Prints the manifest.
    #[arg(long, conflicts_with = "virtual_packages")]
    base: bool,
    /// What the machines that run the image have, over what the manifest says; see `build`. Repeatable.
    #[arg(long = "virtual-package", value_name = "NAME=VERSION")]
    virtual_packages: Vec<VirtualPackage>,
    /// Print the result as one JSON document: the file, and each package that changed.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    means: Means,
}

/// A first lock file has hundreds of packages.
const LISTED: usize = 20;

pub fn run(args: LockArgs, output: &Output) -> Result<ExitCode, CliError> {
    let selection = Selection { workspace: args.workspace, ..Selection::default() };
    let workspace = selection.open()?;
    let session = args.means.session(Some(&workspace), args.registry.access(), None)?;
    let write = !args.check && !args.dry_run;
    if args.base {
        let report = pin_bases(&workspace, write, &session)?;
        return pinned(&report, args.json, args.check, output);
    }
    let inputs = Inputs {
        virtual_packages: with_overrides(&args.virtual_packages)?,
        now: jiff::Timestamp::now(),
        ..Inputs::default()
    };
    let progress = Progress::new(output);
    let session = session.with_events(progress.listener());
    let result = lock(&workspace, &inputs, write, &session);
    session.report_damage();
    progress.finish();
    let report = result?;
    let changes: Vec<String> = report.changes.iter().map(ToString::to_string).collect();
    for line in changes.iter().take(LISTED) {
        output.say(line);
    }
    for line in changes.iter().skip(LISTED) {
        output.note(&printable(line));
    }
    if changes.len() > LISTED {
        output.say(&format!("{} packages changed; --verbose lists all", changes.len()));
    }
    print_report(&report, args.json, || report.lock_file.display().to_string(), output)?;
    if args.check && report.changed {
        let path = report.lock_file;
        let same = report.changes.is_empty();
        return Err(if same { CliError::LockRewritten { path } } else { CliError::LockChanged { path } });
    }
    Ok(ExitCode::SUCCESS)
}

fn pinned(report: &PinReport, json: bool, check: bool, output: &Output) -> Result<ExitCode, CliError> {
    for (name, pinned) in report.bases.iter().filter(|(name, pinned)| name != pinned) {
        output.say(&format!("{name} -> {pinned}"));
    }
    print_report(report, json, || report.manifest.display().to_string(), output)?;
    if check && report.changed {
        return Err(CliError::BaseChanged { path: report.manifest.clone() });
    }
    Ok(ExitCode::SUCCESS)
}
