//! `pixi-oci publish-index`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_publish::{Legs, PublishRequest, PublishSource};

use crate::{
    args::{ConfigurationArgs, PublishingArgs, publishes},
    error::CliError,
    means::Means,
    output::Output,
    publication::{Publication, WorkspaceNeed, show},
};

/// Join the images that other jobs have published into one index, and put its tags.
///
/// Takes the files that `publish --leg-file` wrote, which say where to, under which version and tags, and which
/// architectures there must be; legs that disagree are refused. Every image is fetched by its digest and checked; a tag
/// is never asked, because it may be from an older run. No workspace is needed: --workspace adds what legs do not say,
/// such as a token command. A dry run unless --publish or PUBLISH=1 is given.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci publish-index --publish amd64.json arm64.json
  pixi-oci publish-index --publish --arch amd64 amd64.json")]
pub struct PublishIndexArgs {
    /// What `publish --leg-file` wrote.
    #[arg(required = true, value_name = "LEG")]
    pub legs: Vec<PathBuf>,
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
    /// A tag, instead of those of the legs. Repeatable.
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

pub fn run(args: PublishIndexArgs, output: &Output) -> Result<ExitCode, CliError> {
    let dry_run = !publishes(args.publish)?;
    let legs = Legs::read(&args.legs)?;
    let selection = args.configuration.selection();
    let work = Publication::new(&selection, None, &args.means, &args.registry, &WorkspaceNeed::OfLegs(&legs))?;
    let request = work.request(PublishSource::Legs(legs))?;
    let tags = if args.tag.is_empty() { request.tags.clone() } else { args.tag };
    let request = PublishRequest { tags, dry_run, ..request };
    let report = work.publish(&request, output)?;
    show(&report, args.json, output)
}
