//! `pixi-oci publish`

use std::{collections::BTreeSet, io::Write, num::NonZeroU64, path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_project::{Declared, Inputs, Project, Session};
use pixi_oci_publish::{
    Leg, PublishError, PublishReport, PublishRequest, PublishSource, Settings, Status, publish_images,
};
use pixi_oci_registry::RepositoryRef;
use pixi_oci_workspace::OciConfig;

use crate::{
    args::{ImageArgs, PublishingArgs, Selection, Workspaces, publishes, registries::logins},
    blockers,
    commands::publish_fleet,
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    progress::{Progress, size},
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
    #[arg(short, long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// The default, whatever PUBLISH says.
    #[arg(long, hide = true, conflicts_with = "publish")]
    dry_run: bool,
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
    let dry_run = args.dry_run || !publishes(args.publish)?;
    if args.workspaces.are_many() {
        return publish_fleet::run(&args, dry_run, output);
    }
    let source = match (&args.leg_file, &args.from) {
        (Some(_), _) if args.selection.targets.architectures().len() != 1 => {
            return Err(CliError::Usage(
                "--leg-file is for the image of one architecture; choose it with --arch".into(),
            ));
        }
        (Some(_), _) => PublishSource::Leg,
        (None, Some(layout)) => PublishSource::Layout(layout.clone()),
        (None, None) => PublishSource::Workspace,
    };
    let work = Publication::new(
        &args.selection,
        Some((&args.image, &args.layers)),
        &args.means,
        &args.registry,
        matches!(source, PublishSource::Layout(_)),
    )?;
    let request = PublishRequest {
        tags: args.tag.clone(),
        takes_published: !args.no_cache_from,
        dry_run,
        ..work.request(source)?
    };
    let report = work.publish(&request, output)?;
    if let (Some(path), Some(leg)) = (&args.leg_file, &report.leg) {
        write_leg(path, leg)?;
    }
    show(&report, args.json, output)
}

/// What all commands that publish have: the workspace, if there is one, and a session.
pub struct Publication {
    pub path: PathBuf,
    pub inputs: Inputs,
    pub declared: Option<Declared>,
    pub session: Session,
}

impl Publication {
    /// Opens the workspace. What is published as it is needs none where the command line says where to.
    pub fn new(
        selection: &Selection,
        image: Option<(&ImageArgs, &LayerArgs)>,
        means: &Means,
        registry: &PublishingArgs,
        without_workspace: bool,
    ) -> Result<Self, CliError> {
        let workspace = match selection.open() {
            Err(_) if without_workspace && !registry.to.is_empty() => None,
            workspace => Some(workspace?),
        };
        let (image, layers) = image.unzip();
        let mut session = means.session(workspace.as_ref(), registry.access(), layers)?;
        if session.offline {
            return Err(CliError::Usage("a registry cannot be reached offline; leave out --offline".into()));
        }
        let cache_from = layers.map(|layers| layers.cache_from.as_slice()).unwrap_or_default();
        let mut inputs = selection.inputs(image, cache_from)?;
        inputs.overrides.repositories = (!registry.to.is_empty()).then(|| registry.to.clone());
        let declared = workspace.map(|workspace| Declared::new(workspace.into(), inputs.clone())).transpose()?;
        let oci = declared.as_ref().map_or(&inputs.overrides, |declared| &declared.configuration.oci);
        let bytes = |megabytes: NonZeroU64| megabytes.get().saturating_mul(1_000_000);
        session.registries.options.chunk_size = oci.chunk_size.map(bytes);
        session.registries.credentials.logins = logins(&hosts(oci), &oci.registries)?;
        Ok(Self { path: selection.workspace(), inputs, declared, session })
    }

    /// A dry run of a publication.
    pub fn request(&self, source: PublishSource) -> Result<PublishRequest, CliError> {
        let settings = match (&self.declared, &source) {
            (Some(declared), PublishSource::Legs(_)) => Settings::for_legs(declared, &self.session),
            (Some(declared), _) => Settings::of(declared),
            (None, _) => Settings::without_workspace(&self.inputs),
        }?;
        Ok(PublishRequest {
            source,
            settings,
            tags: Vec::new(),
            facts: self.inputs.provenance.version.clone(),
            takes_published: false,
            dry_run: true,
        })
    }

    /// Publishes with progress. What blocks everywhere is said, and is an error.
    pub fn publish(&self, request: &PublishRequest, output: &Output) -> Result<PublishReport, CliError> {
        let progress = Progress::new(output);
        let session = self.session.with_events(progress.listener());
        let builds = matches!(request.source, PublishSource::Workspace | PublishSource::Leg);
        let project = self.declared.clone().filter(|_| builds).map(|declared| Project::open(declared, &session));
        let result = project
            .transpose()
            .map_err(PublishError::from)
            .and_then(|project| publish_images(request, project.as_ref(), &session));
        progress.finish();
        if let Err(PublishError::Blocked(destinations)) = &result {
            failures(destinations, output);
        }
        Ok(result?)
    }
}

/// The registries that are published to. What is wrong with a name is said where it is used.
fn hosts(oci: &OciConfig) -> BTreeSet<String> {
    let repositories = oci.repositories.iter().flatten().filter_map(|text| text.parse::<RepositoryRef>().ok());
    repositories.map(|parsed| parsed.repository.host().to_owned()).collect()
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

fn failures(destinations: &[pixi_oci_publish::DestinationReport], output: &Output) {
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
