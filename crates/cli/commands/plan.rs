//! `pixi-oci plan`

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use clap::Args;
use pixi_oci_build::{Client, Plan, PlanRequest, plan};

use crate::{
    arguments::Selection,
    commands::build::{Means, request},
    error::CliError,
    output::Output,
    progress::{Progress, size},
};

/// Show what a build would do: packages, layers and sizes, from the lock file alone.
///
/// Nothing is downloaded and no network is used, unless there is no lock file yet. Sizes are those of the package archives.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci plan                         # the default environment, all its linux platforms
  pixi-oci plan --all --json ../tool    # every environment and linux platform, for programs
  pixi-oci plan -e prod --arch arm64 --max-layers 60")]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Every environment of the lock file.
    #[arg(long, conflicts_with_all = ["environment", "arch", "platform"])]
    pub all: bool,
    /// Print one JSON document: a list, one element for each environment and platform.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub means: Means,
}

/// Runs the command.
pub fn run(args: PlanArgs, output: &Output) -> Result<ExitCode, CliError> {
    let channels = args.means.channels(&args.selection.workspace())?;
    let request = request(&args.selection, None, &args.means, &channels, None)?;
    let client = Client::new(&channels.client)?;
    let progress = Progress::new(output);
    let plans =
        plan(&PlanRequest { build: request, all_environments: args.all }, &client, &|event| progress.on_event(event));
    progress.finish();
    let plans = plans?;
    let text = if args.json { serde_json::to_string_pretty(&plans)? } else { table(&plans) };
    output.result(text.trim_end()).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(ExitCode::SUCCESS)
}

fn table(plans: &[Plan]) -> String {
    let mut text = String::new();
    for plan in plans {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {}: {} packages, {} in {} layers",
            plan.environment,
            plan.platform,
            plan.packages,
            size(plan.bytes),
            plan.layers.len()
        );
        if !plan.needs.is_empty() {
            let needs: Vec<_> = plan.needs.iter().map(|need| format!("{} ({})", need.text(), need.package)).collect();
            let _ = writeln!(text, "  needs {}", needs.join(", "));
        }
        for (number, layer) in plan.layers.iter().enumerate() {
            let names: Vec<String> = layer
                .packages
                .iter()
                .map(|package| {
                    if layer.packages.len() == 1 {
                        format!("{} {}", package.name, package.version)
                    } else {
                        package.name.clone()
                    }
                })
                .collect();
            let _ = writeln!(text, "  {:>3} {:>10}  {}", number + 1, size(layer.bytes), names.join(", "));
        }
        let notes = BTreeMap::from([
            ("size not in the lock file", &plan.unknown_sizes),
            ("built from source, in no layer", &plan.sources),
        ]);
        for (note, packages) in notes.into_iter().filter(|(_, packages)| !packages.is_empty()) {
            let _ = writeln!(text, "  {note}: {}", packages.join(", "));
        }
        text.push('\n');
    }
    text
}
