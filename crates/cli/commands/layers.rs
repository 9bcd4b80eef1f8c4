//! `pixi-oci layers`

use std::process::ExitCode;

use clap::Args;
use pixi_oci_plan::{Shard, ShardedProject, size};
use pixi_oci_publish::{LayersReport, PublishError, PublishRequest, PublishSource, publish_layers};

use crate::{
    args::{ImageArgs, PublishingArgs, Selection, Workspaces, publishes},
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    output::progress::Progress,
    publication::{Publication, WorkspaceNeed, failures},
    result::print_report,
};

/// Make one machine's share of the layers that no image of --cache-from has, and keep them in a repository.
///
/// For images that one machine takes too long for: N jobs make the layers, each fetching only the packages in its own, and the jobs
/// that publish the images take them with --cache-from and fetch no package. All jobs of a run need the same options. A dry run
/// unless --publish or PUBLISH=1 is given. See docs/fleet.md.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci plan --matrix layers --shards 4               # the jobs
  pixi-oci layers --shard 1/4 --to docker://ghcr.io/me/layers --publish
  pixi-oci layers --shard 1/4 --to docker://ghcr.io/me/layers --tag run-17 --publish
  pixi-oci publish --cache-from docker://ghcr.io/me/layers --publish")]
pub struct LayersArgs {
    #[command(flatten)]
    pub sharded: Sharded,
    /// Which share: I of N, from 1.
    #[arg(long, value_name = "I/N")]
    pub shard: Shard,
    /// The tag of --cache-from that the layers are found by; I-of-N is added to it [default: latest].
    #[arg(short, long, value_name = "TAG")]
    pub tag: Option<String>,
    /// The default, whatever PUBLISH says.
    #[arg(long, hide = true, conflicts_with = "publish")]
    dry_run: bool,
    /// Make the layers and send them; without it, and without PUBLISH=1, only say which they are.
    #[arg(long)]
    pub publish: bool,
    /// Print the result as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Of which images the layers are.
#[derive(Debug, Args)]
pub struct Sharded {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub workspaces: Workspaces,
    /// Every environment of the lock file.
    #[arg(long, conflicts_with_all = ["environment", "arch", "platform"])]
    pub all: bool,
    #[command(flatten)]
    pub registry: PublishingArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub means: Means,
    #[command(flatten)]
    pub layers: LayerArgs,
}

impl Sharded {
    /// The environments, and the first workspace's publication.
    pub fn open(&self, progress: &Progress) -> Result<(Publication, Vec<ShardedProject>), CliError> {
        let (mut first, mut all, mut heard) = (None, Vec::new(), None);
        for workspace in self.workspaces.all(&self.selection)? {
            let (selection, image) = (self.selection.of(&workspace), Some((&self.image, &self.layers)));
            let work =
                Publication::new(&selection, image, &self.means, &self.registry, &WorkspaceNeed::Always)?.online()?;
            let mut session = work.session.with_events(progress.listener());
            // What servers said of an archive is asked once for all workspaces.
            session.heard = heard.get_or_insert(session.heard).clone();
            let projects = work.environments(self.all, self.selection.environment.is_none(), &session)?;
            all.extend(projects.into_iter().map(|project| ShardedProject { project, session: session.clone() }));
            first.get_or_insert(work);
        }
        let first = first.ok_or_else(|| CliError::Usage("name a workspace".into()))?;
        Ok((first, all))
    }
}

pub fn run(args: LayersArgs, output: &Output) -> Result<ExitCode, CliError> {
    let dry_run = args.dry_run || !publishes(args.publish)?;
    let progress = Progress::new(output);
    let report = make(&args, dry_run, &progress);
    progress.finish();
    if let Err(CliError::Publication(PublishError::Blocked(destinations))) = &report {
        failures(destinations, output);
    }
    let report = report?;
    say(&report, output);
    print_report(&report, args.json, String::new, output)?;
    let failed = report.destination.is_some_and(|destination| destination.failure.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn make(args: &LayersArgs, dry_run: bool, progress: &Progress) -> Result<LayersReport, CliError> {
    let (work, projects) = args.sharded.open(progress)?;
    let request = work.request(PublishSource::Workspace)?;
    let request = PublishRequest { tags: args.tag.iter().cloned().collect(), dry_run, ..request };
    let session = work.session.with_events(progress.listener());
    let report = publish_layers(&request, &projects, args.shard, &session);
    session.report_damage();
    Ok(report?)
}

fn say(report: &LayersReport, output: &Output) {
    let LayersReport { shard, count, bytes, .. } = report;
    if *count == 0 {
        output.say(&format!("shard {shard}: no layers"));
    } else {
        output.say(&format!("shard {shard}: {count} layers, {} of packages", size(*bytes)));
    }
    if report.dry_run {
        output.say("dry run: no layer is made without --publish or PUBLISH=1");
    }
    if let Some(destination) = &report.destination {
        destination.lines().iter().for_each(|line| output.say(line));
        failures(std::slice::from_ref(destination), output);
    }
}
