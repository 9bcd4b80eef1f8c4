//! `pixi-oci publish-index`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_publish::{PublishRequest, PublishSource};

use crate::{
    args::{PublishingArgs, Workspace, publishes},
    error::CliError,
    means::Means,
    output::Output,
    publication::{Publication, show},
};

/// Join the images that other jobs have published into one index, and put its tags.
///
/// Takes the files that `publish --leg-file` wrote. Every image is fetched by its digest and checked; a tag is never
/// asked, because it may be from an older run. The index is published only if every required architecture is there:
/// those of --arch, else of the configuration, else of the lock file. A dry run unless --publish or PUBLISH=1 is given.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci publish-index --publish amd64.json arm64.json
  pixi-oci publish-index --publish --arch amd64 amd64.json")]
pub struct PublishIndexArgs {
    /// What `publish --leg-file` wrote.
    #[arg(required = true, value_name = "LEG")]
    pub legs: Vec<PathBuf>,
    #[command(flatten)]
    pub workspace: Workspace,
    /// A tag, instead of the configured ones. Repeatable.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Publish; without it, and without PUBLISH=1, only say what would be done.
    #[arg(long)]
    pub publish: bool,
    /// Print the result as one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub registry: PublishingArgs,
    #[command(flatten)]
    pub means: Means,
}

/// Runs the command.
pub fn run(args: PublishIndexArgs, output: &Output) -> Result<ExitCode, CliError> {
    let dry_run = !publishes(args.publish)?;
    let source = PublishSource::Legs(args.legs.clone());
    let selection = args.workspace.selection();
    let work = Publication::new(&selection, None, &args.means, &args.registry, false)?;
    let request = PublishRequest { tags: args.tag.clone(), dry_run, ..work.request(source)? };
    let report = work.publish(&request, output)?;
    show(&report, args.json, output)
}
