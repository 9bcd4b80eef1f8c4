//! `pixi-oci plan`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use pixi_oci_pipeline::Remote;
use pixi_oci_plan::{EnvironmentPlan, PastRef, PlanOptions, Shard, matrix, plan, planned_cache_from, planned_images};
use pixi_oci_project::{Heard, Project, Session};
use pixi_oci_publish::{PublishRequest, PublishSource, PublishedRef, images_since, plan_layers, plan_publication};

use crate::{
    args::{ImageArgs, PublishingArgs, Selection, Workspaces},
    changed::has_changed,
    commands::layers::Sharded,
    error::CliError,
    means::{LayerArgs, Means},
    output::Output,
    output::progress::Progress,
    publication::{Publication, WorkspaceNeed},
    result::print,
};

/// Show what a build would do: layers and their packages, what is there already, what would be downloaded, and the digest.
///
/// No package is downloaded, and no network is used, unless there is no lock file yet or --cache-from names a registry. The
/// digest is known before the build when every layer and the base image are; else the reason is said. `~` stands before
/// sizes of package archives, where the layer's own is not known. See docs/plan.md.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci plan                         # the default environment, all its linux platforms
  pixi-oci plan --all --json ../tool    # every environment and linux platform, for programs
  pixi-oci plan -e prod --arch arm64 --set max-layers=60
  pixi-oci plan --cache-from docker://ghcr.io/me/app:latest
  pixi-oci plan --against oci:dist/oci  # what changed, and the bytes that it costs
  pixi-oci plan --matrix github --workspace-glob 'services/*' --since origin/main
  pixi-oci plan --matrix github --workspace-glob 'services/*' --since :latest")]
pub struct PlanArgs {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub workspaces: Workspaces,
    /// Print the jobs of a CI instead: workspace, environment and architecture of every image.
    #[arg(long, value_enum, value_name = "CI", conflicts_with = "json")]
    pub matrix: Option<MatrixForm>,
    /// How many machines make layers, with --matrix layers.
    #[arg(long, value_name = "N", requires = "matrix", value_parser = shard_count)]
    pub shards: Option<usize>,
    /// Only what changed since: a commit, tag or branch (files of the workspace changed since their branch left it; empty
    /// for all); or a published image, docker://HOST/REPOSITORY[:TAG], or :TAG or @sha256:… in each workspace's first
    /// repository (a build gives another image).
    #[arg(long, value_name = "SINCE", requires = "matrix")]
    pub since: Option<String>,
    /// A tag as in `publish`. With it, or with --to, the repositories (those of --to, else the configured ones) are asked what
    /// they have, and it is said what `publish` would send.
    #[arg(short, long, value_name = "TAG", conflicts_with_all = ["all", "matrix"])]
    pub tag: Vec<String>,
    /// As in `publish`: no layer of what is published there already is taken.
    #[arg(long, conflicts_with = "cache_from")]
    pub no_cache_from: bool,
    /// What `publish` takes does not matter here: its plan is the same.
    #[arg(long, hide = true)]
    pub publish: bool,
    #[arg(long, hide = true, value_name = "FILE")]
    pub leg_file: Option<PathBuf>,
    /// Say what is different from this image, package by package, and what it costs: docker://HOST/REPOSITORY[:TAG],
    /// oci:DIR[:TAG] or oci:DIR@sha256:….
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["all", "matrix"])]
    pub against: Option<PastRef>,
    /// Every environment of the lock file.
    #[arg(long, conflicts_with_all = ["environment", "arch", "platform"])]
    pub all: bool,
    /// Print one JSON document: a list, one element for each environment; see docs/plan.md.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub image: ImageArgs,
    #[command(flatten)]
    pub registry: PublishingArgs,
    #[command(flatten)]
    pub means: Means,
    #[command(flatten)]
    pub layers: LayerArgs,
}

/// Whose words are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MatrixForm {
    /// One line of JSON for `strategy: matrix: ${{ fromJSON(…) }}` of GitHub, Gitea and Forgejo Actions.
    Github,
    /// A `matrix:` for a file of Woodpecker, which reads it before the pipeline runs.
    Woodpecker,
    /// Not the images but the layers that no image of --cache-from has, divided among --shards machines: one line of JSON for
    /// the jobs that run `layers`.
    Layers,
}

fn shard_count(text: &str) -> Result<usize, String> {
    let last: Shard = format!("{text}/{text}").parse().map_err(|_| "expected a number from 1 to 256".to_owned())?;
    Ok(last.of)
}

/// Runs the command.
pub fn run(args: PlanArgs, output: &Output) -> Result<ExitCode, CliError> {
    match (args.matrix, args.shards) {
        (Some(MatrixForm::Layers), Some(shards)) => return layers_jobs(args, shards, output),
        (Some(MatrixForm::Layers), None) => {
            return Err(CliError::Usage("--matrix layers needs --shards, the number of machines".into()));
        }
        (_, Some(_)) => return Err(CliError::Usage("--shards is for --matrix layers".into())),
        (Some(system), None) => return jobs(&args, system, output),
        (None, None) => {}
    }
    if args.workspaces.are_many() {
        return Err(CliError::Usage("several workspaces are for --matrix; plan one at a time".into()));
    }
    let plans = plans(&args, output)?;
    let text = if args.json { serde_json::to_string_pretty(&plans)? } else { pixi_oci_plan::text(&plans) };
    print(text.trim_end(), output)
}

/// The jobs that make layers.
fn layers_jobs(args: PlanArgs, count: usize, output: &Output) -> Result<ExitCode, CliError> {
    let PlanArgs { selection, workspaces, all, registry, image, means, layers, .. } = args;
    let sharded = Sharded { selection, workspaces, all, registry, image, means, layers };
    let progress = Progress::new(output);
    let shares = sharded.open(&progress).and_then(|(work, projects)| {
        let request = work.request(PublishSource::Workspace).ok();
        let session = work.session.with_events(progress.listener());
        Ok(plan_layers(request.as_ref(), &projects, count, &session)?)
    });
    progress.finish();
    print(matrix::one_line(&matrix::layers_jobs(&shares?))?.trim_end(), output)
}

/// The jobs of all workspaces that need work.
fn jobs(args: &PlanArgs, system: MatrixForm, output: &Output) -> Result<ExitCode, CliError> {
    let (mut jobs, heard) = (Vec::new(), Heard::default());
    let since = args.since.as_deref().map(Since::parse).transpose()?;
    for workspace in args.workspaces.all(&args.selection)? {
        let selection = args.selection.of(&workspace);
        let images = match &since {
            Some(Since::Commit(commit)) if !has_changed(&workspace, commit)? => Vec::new(),
            Some(Since::Published(published)) => {
                ask(args, &selection, output, |projects, session, _| {
                    let mut session = session.clone();
                    // What servers said of an archive is asked once for all workspaces.
                    session.heard = heard.clone();
                    Ok(images_since(projects, published, &session)?)
                })?
            }
            _ => ask(args, &selection, output, |projects, _, _| Ok(planned_images(projects)))?,
        };
        if images.is_empty() {
            output.note(&format!("{}: nothing changed", workspace.display()));
        }
        jobs.extend(matrix::jobs(&workspace, &images));
    }
    let text = if system == MatrixForm::Woodpecker { matrix::woodpecker(&jobs) } else { matrix::one_line(&jobs) };
    print(text?.trim_end(), output)
}

/// Since what something may have changed.
enum Since {
    Commit(String),
    Published(PublishedRef),
}

impl Since {
    /// No name of a commit begins with `:` or `@sha256:` or has `://` in it.
    fn parse(text: &str) -> Result<Self, CliError> {
        if text.starts_with(':') || text.starts_with("@sha256:") || text.starts_with("docker://") {
            return text.parse().map(Self::Published).map_err(|error| CliError::Usage(format!("--since: {error}")));
        }
        Ok(Self::Commit(text.to_owned()))
    }
}

fn plans(args: &PlanArgs, output: &Output) -> Result<Vec<EnvironmentPlan>, CliError> {
    let options = PlanOptions { all: args.all, against: args.against.as_ref() };
    ask(args, &args.selection, output, |projects, session, push| {
        if let Some(push) = push {
            return Ok(plan_publication(projects, push, options, session)?);
        }
        let remote = projects.first().map(|project| planned_cache_from(project, session)).transpose()?.flatten();
        let plans = plan(projects, options, remote.as_ref().map(|remote| remote as &dyn Remote), session)?;
        Ok(plans.into_iter().map(|(plan, _)| plan).collect())
    })
}

/// The workspace's environments, opened with progress, and an answer about them.
fn ask<T>(
    args: &PlanArgs,
    selection: &Selection,
    output: &Output,
    question: impl FnOnce(&[Project], &Session, Option<&PublishRequest>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let image = Some((&args.image, &args.layers));
    let mut work = Publication::new(selection, image, &args.means, &args.registry, &WorkspaceNeed::Always)?;
    let mut push = None;
    if !args.tag.is_empty() || !args.registry.to.is_empty() {
        work = work.online()?;
        let request = work.request(PublishSource::Workspace)?;
        push = Some(PublishRequest { tags: args.tag.clone(), takes_published: !args.no_cache_from, ..request });
    }
    let progress = Progress::new(output);
    let session = work.session.with_events(progress.listener());
    let unnamed = args.matrix.is_some() && selection.environment.is_none();
    let projects = work.environments(args.all, unnamed, &session);
    let answer = projects.map_err(CliError::from).and_then(|projects| question(&projects, &session, push.as_ref()));
    session.report_damage();
    progress.finish();
    answer
}
