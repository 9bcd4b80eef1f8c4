//! `pixi-oci publish`

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_publish::{Leg, PublishRequest, PublishSource};

use crate::{
    args::{ImageArgs, PublishingArgs, Selection, Workspaces, publishes},
    commands::publish_fleet,
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    publication::{Publication, WorkspaceNeed, show},
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
  pixi-oci publish --to oras://ghcr.io/me/app --publish           # SIFs for Apptainer
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

pub fn run(args: PublishArgs, output: &Output) -> Result<ExitCode, CliError> {
    let dry_run = args.dry_run || !publishes(args.publish)?;
    if args.workspaces.are_many() {
        return publish_fleet::publish_all(&fleet(&args, dry_run)?, args.json, output);
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
        if args.from.is_some() { &WorkspaceNeed::WithoutDestination } else { &WorkspaceNeed::Always },
    )?
    .online()?;
    let request = args.request(&work, source, dry_run)?;
    let report = work.publish(&request, output)?;
    if let (Some(path), Some(leg)) = (&args.leg_file, &report.leg) {
        write_leg(path, leg)?;
    }
    show(&report, args.json, output)
}

fn fleet(args: &PublishArgs, dry_run: bool) -> Result<Vec<(Publication, PublishRequest)>, CliError> {
    if args.leg_file.is_some() || args.from.is_some() {
        return Err(CliError::Usage("--leg-file and --from are for one workspace".into()));
    }
    let open = |workspace: &PathBuf| {
        let (selection, image) = (args.selection.of(workspace), Some((&args.image, &args.layers)));
        let work =
            Publication::new(&selection, image, &args.means, &args.registry, &WorkspaceNeed::Always)?.online()?;
        let request = args.request(&work, PublishSource::Workspace, dry_run)?;
        Ok((work, request))
    };
    args.workspaces.all(&args.selection)?.iter().map(open).collect()
}

impl PublishArgs {
    fn request(&self, work: &Publication, source: PublishSource, dry_run: bool) -> Result<PublishRequest, CliError> {
        Ok(PublishRequest {
            tags: self.tag.clone(),
            takes_published: !self.no_cache_from,
            dry_run,
            ..work.request(source)?
        })
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
