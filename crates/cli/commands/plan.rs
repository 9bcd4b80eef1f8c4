//! `pixi-oci plan`

use std::{collections::BTreeMap, fmt::Write, process::ExitCode};

use clap::Args;
use pixi_oci_build::{Client, Plan, PlanRequest, plan};

use crate::{
    arguments::Selection,
    changed::has_changed,
    commands::build::{Means, request},
    error::CliError,
    matrix,
    output::Output,
    progress::{Progress, size},
    registries::RegistryArgs,
    workspaces::Workspaces,
};

/// Show what a build would do: packages, layers and sizes, from the lock file alone.
///
/// Nothing is downloaded and no network is used, unless there is no lock file yet. Sizes are those of the package archives.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci plan                         # the default environment, all its linux platforms
  pixi-oci plan --all --json ../tool    # every environment and linux platform, for programs
  pixi-oci plan -e prod --arch arm64 --max-layers 60
  pixi-oci plan --matrix github --workspace-glob 'services/*' --since origin/main")]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub workspaces: Workspaces,
    /// Print the jobs of a CI instead: workspace, environment and architecture of every image.
    #[arg(long, value_enum, value_name = "CI", conflicts_with = "json")]
    pub matrix: Option<matrix::System>,
    /// Only workspaces with files that changed since their branch left this commit, tag or branch; empty for all.
    #[arg(long, value_name = "GIT_REF", requires = "matrix")]
    pub since: Option<String>,
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
    if let Some(system) = args.matrix {
        return jobs(&args, system, output);
    }
    if args.workspaces.are_many() {
        return Err(CliError::Usage("several workspaces are for --matrix; plan one at a time".into()));
    }
    let plans = plans(&args, &args.selection, output)?;
    let text = if args.json { serde_json::to_string_pretty(&plans)? } else { table(&plans) };
    show(&text, output)
}

/// The jobs of all workspaces that need work.
fn jobs(args: &PlanArgs, system: matrix::System, output: &Output) -> Result<ExitCode, CliError> {
    let mut jobs = Vec::new();
    for workspace in args.workspaces.all(&args.selection)? {
        if let Some(since) = &args.since
            && !has_changed(&workspace, since)?
        {
            output.note(&format!("{}: nothing changed", workspace.display()));
            continue;
        }
        let selection = Selection { workspace: Some(workspace.clone()), manifest_path: None, ..args.selection.clone() };
        jobs.extend(matrix::jobs(&workspace, &plans(args, &selection, output)?));
    }
    show(&matrix::text(system, &jobs)?, output)
}

fn show(text: &str, output: &Output) -> Result<ExitCode, CliError> {
    output.result(text.trim_end()).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(ExitCode::SUCCESS)
}

fn plans(args: &PlanArgs, selection: &Selection, output: &Output) -> Result<Vec<Plan>, CliError> {
    let channels = args.means.channels(&selection.workspace())?;
    let request = request(selection, None, &args.means, &channels, RegistryArgs::default().access())?;
    let client = Client::new(&channels.client)?;
    let progress = Progress::new(output);
    let plans =
        plan(&PlanRequest { build: request, all_environments: args.all }, &client, &|event| progress.on_event(event));
    progress.finish();
    Ok(plans?)
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
