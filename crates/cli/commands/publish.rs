//! `pixi-oci publish`

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_build::{Leg, PublishError, PublishReport, PublishRequest, PublishSource, Status, publish_images};
use pixi_oci_net::Client;

use crate::{
    arguments::{ImageArgs, Selection},
    blockers,
    channels::Channels,
    commands::{build::request, publish_fleet},
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    progress::{Progress, size},
    registries::{PublishingArgs, publishes},
    version::facts,
    workspaces::Workspaces,
};

/// Build the images of locked workspaces and publish them to registries.
///
/// A dry run unless --publish or PUBLISH=1 is given: says what would be sent and which tags would be put, and only reads.
/// Prints one line for each repository: the reference with the digest. Credentials come from REGISTRY_TOKEN, the token
/// command, or the logins of podman and docker; see docs/publishing.md.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci publish --to docker://git.example.org/me/app           # what would happen
  pixi-oci publish --to docker://ghcr.io/me/app --publish         # version: see docs/publishing.md
  pixi-oci publish --publish --arch amd64 --leg-file amd64.json   # `publish-index` joins such legs
  pixi-oci publish --publish --workspace-glob 'services/*'        # each to its own `repositories`
  pixi-oci publish --publish --from oci:dist/oci --to docker://r.example.org/app --tag testing")]
pub struct PublishArgs {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub workspaces: Workspaces,
    /// A tag, instead of the configured ones. Repeatable. `latest` and release numbers are for releases.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Publish; without it, and without PUBLISH=1, only say what would be done.
    #[arg(long)]
    pub publish: bool,
    /// Publish the image of one --arch without an index, and write its digest to this file for `publish-index`.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub leg_file: Option<PathBuf>,
    /// Publish what is in an OCI layout, unchanged, instead of building: oci:DIR[:TAG] or oci:DIR@DIGEST.
    #[arg(long, value_name = "LAYOUT")]
    pub from: Option<String>,
    /// Make all layers that are not in this machine's cache, even if the repository has them. Layers of what is published
    /// there already are taken otherwise, but for a release.
    #[arg(long, conflicts_with = "cache_from")]
    pub no_cache_from: bool,
    /// Print the result as one JSON document: every digest and tag of every repository.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub registry: PublishingArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub means: Means,
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// Runs the command.
pub fn run(args: PublishArgs, output: &Output) -> Result<ExitCode, CliError> {
    let dry_run = !publishes(args.publish)?;
    if args.workspaces.are_many() {
        return publish_fleet::run(&args, dry_run, output);
    }
    let source = match (&args.leg_file, &args.from) {
        (Some(_), _) if args.selection.arch.len() != 1 => {
            return Err(CliError::Usage(
                "--leg-file is for the image of one architecture; choose it with --arch".into(),
            ));
        }
        (Some(_), _) => PublishSource::Leg,
        (None, Some(layout)) => PublishSource::Layout(layout.clone()),
        (None, None) => PublishSource::Workspace,
    };
    let (request, channels) =
        publish_request(&args.selection, Some((&args.image, &args.layers)), &args.means, &args.registry, source)?;
    let request = PublishRequest { tags: args.tag.clone(), takes_published: !args.no_cache_from, dry_run, ..request };
    let report = publish(&request, &channels, output)?;
    if let (Some(path), Some(leg)) = (&args.leg_file, &report.leg) {
        write_leg(path, leg)?;
    }
    show(&report, args.json, output)
}

/// The request of all commands that publish, and where packages come from.
pub fn publish_request(
    selection: &Selection,
    image: Option<(&ImageArgs, &LayerArgs)>,
    means: &Means,
    registry: &PublishingArgs,
    source: PublishSource,
) -> Result<(PublishRequest, Channels), CliError> {
    let needs_workspace = registry.to.is_empty() || !matches!(source, PublishSource::Layout(_));
    let channels = match means.channels(&selection.workspace()) {
        Err(_) if !needs_workspace => means.channels_without_workspace()?,
        channels => channels?,
    };
    let access = registry.access();
    let (image, layers) = image.unzip();
    let mut build = request(selection, image, layers, means, &channels, access.clone())?;
    if build.offline {
        return Err(CliError::Usage("a registry cannot be reached offline; leave out --offline".into()));
    }
    build.overrides.repositories = (!registry.to.is_empty()).then(|| registry.to.clone());
    let request = PublishRequest {
        build,
        source,
        tags: Vec::new(),
        facts: facts(&selection.workspace()),
        access,
        takes_published: false,
        dry_run: true,
    };
    Ok((request, channels))
}

/// Publishes with progress. What blocks everywhere is said, and is an error.
pub fn publish(request: &PublishRequest, channels: &Channels, output: &Output) -> Result<PublishReport, CliError> {
    let client = Client::new(&channels.client)?;
    let progress = Progress::new(output);
    let result = publish_images(request, &client, &|event| progress.on_event(event));
    progress.finish();
    if let Err(PublishError::Blocked(destinations)) = &result {
        failures(destinations, output);
    }
    Ok(result?)
}

/// Says how it went, and prints the result.
pub fn show(report: &PublishReport, json: bool, output: &Output) -> Result<ExitCode, CliError> {
    announce(report, output);
    let text = if json { serde_json::to_string_pretty(report)? } else { references(report) };
    if !text.is_empty() {
        output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is there now, one line a repository.
pub fn references(report: &PublishReport) -> String {
    let references = report.destinations.iter().filter_map(|destination| destination.reference.as_deref());
    references.collect::<Vec<_>>().join("\n")
}

/// Says how it went.
pub fn announce(report: &PublishReport, output: &Output) {
    if report.dry_run {
        output.say("dry run: nothing is published without --publish or PUBLISH=1");
    }
    for destination in &report.destinations {
        let (word, done) = match destination.status {
            Status::Published => ("sent", true),
            Status::WouldPublish => ("to send", true),
            Status::Failed | Status::NotTried => continue,
        };
        output.say(&format!(
            "{}: {} blobs and {} manifests {word}, {}; {} blobs mounted, {} there",
            destination.repository,
            destination.uploaded.len(),
            destination.manifests.len(),
            size(destination.bytes),
            destination.mounted.len(),
            destination.present.len()
        ));
        for tag in destination.tags.iter().filter(|_| done) {
            let before = match tag.previous {
                Some(previous) if previous == tag.digest => " (unchanged)".to_owned(),
                Some(previous) => format!(" (was {previous})"),
                None => String::new(),
            };
            output.say(&format!("  {} {}{before}", tag.tag, tag.digest));
        }
        for kept in &destination.kept {
            output.warning(&format!("{}:{} stays where it is: {}", destination.repository, kept.tag, kept.reason));
        }
    }
    failures(&report.destinations, output);
}

fn failures(destinations: &[pixi_oci_build::DestinationReport], output: &Output) {
    for destination in destinations {
        if let Some(failure) = &destination.failure {
            let text = format!("{}: {}", destination.repository, failure.message);
            match failure.blocker {
                Some(name) => blockers::show(output, name, &text),
                None => output.failure(&text),
            }
        }
    }
}

/// Whole or not at all: the next job must not read half of it.
fn write_leg(path: &std::path::Path, leg: &Leg) -> Result<(), CliError> {
    let failed = |source| CliError::Io { action: format!("write {}", path.display()), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    writeln!(file, "{}", serde_json::to_string_pretty(leg)?).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
