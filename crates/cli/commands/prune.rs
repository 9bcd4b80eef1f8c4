//! `pixi-oci prune`

use std::process::ExitCode;

use clap::Args;
use pixi_oci_publish::{PublishRequest, PublishSource, prune};

use crate::{
    args::{PublishingArgs, Selection, SettingArgs, WorkspacePath},
    error::CliError,
    means::Means,
    output::Output,
    output::blockers,
    output::progress::Progress,
    publication::{Publication, WorkspaceNeed},
    result::print_report,
};

/// Remove the tags of single architectures, TAG-amd64 and TAG-arm64, that no index needs any more.
///
/// They keep images from registries' cleaners, so one whose image an index under any tag names is never removed. A dry
/// run unless --delete is given. Do not run it while something is being published to the same repository.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci prune                                   # what would be removed
  pixi-oci prune --delete --to docker://git.example.org/me/app --tag sha-abc1234")]
pub struct PruneArgs {
    #[command(flatten)]
    pub workspace: WorkspacePath,
    /// The environment [default: the configured one, else `default`].
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Only the tags of single architectures of this tag. Repeatable.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Remove; without it only say what would be removed.
    #[arg(long)]
    pub delete: bool,
    /// Print the result as one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub registry: PublishingArgs,
    #[command(flatten)]
    pub means: Means,
}

pub fn run(args: PruneArgs, output: &Output) -> Result<ExitCode, CliError> {
    let selection = Selection {
        workspace: args.workspace.clone(),
        environment: args.environment.clone(),
        settings: args.settings.clone(),
        ..Selection::default()
    };
    // What is in the repositories is all that counts.
    let work = Publication::new(&selection, None, &args.means, &args.registry, &WorkspaceNeed::WithoutDestination)?
        .online()?;
    let progress = Progress::new(output);
    let request = work.request(PublishSource::Workspace)?;
    let request = PublishRequest { tags: args.tag.clone(), dry_run: !args.delete, ..request };
    let report = prune(&request, &work.session.with_events(progress.listener()));
    progress.finish();
    let report = report?;
    let mut lines = Vec::new();
    let mut complete = true;
    for repository in &report.repositories {
        for tag in &repository.tags {
            let name = format!("{}:{}", repository.repository, tag.tag);
            match &tag.reason {
                Some(reason) => output.note(&format!("{name} stays: {reason}")),
                None => lines.push(format!("{name}@{}", tag.digest)),
            }
        }
        if let Some(failure) = &repository.failure {
            complete = false;
            blockers::failure(output, &repository.repository, failure);
        }
    }
    if lines.is_empty() && complete {
        output.say("there is nothing to remove");
    } else if report.dry_run {
        output.say("dry run: nothing is removed without --delete");
    }
    print_report(&report, args.json, || lines.join("\n"), output)?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
