//! `pixi-oci verify`

mod accounts;
mod image;
pub mod product;
mod rebuild;
mod show;
mod sif;

use std::{path::PathBuf, process::ExitCode, sync::atomic::AtomicBool};

use clap::{Args, Subcommand};
use pixi_oci_image::Architecture;
use pixi_oci_project::{Containers, image_task};
use pixi_oci_verify::{Check, RunOptions};
use pixi_oci_workspace::TaskArgv;

use crate::{error::CliError, output::Output};

/// Check what was built, and run it without a network.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci verify image oci:dist/oci -- python -c 'import numpy'
  pixi-oci verify product airgap/product -- python -c 'import numpy'
  pixi-oci verify rebuild docker://ghcr.io/me/tool:1.0 .")]
pub struct VerifyArgs {
    #[command(subcommand)]
    what: Verify,
}

#[derive(Debug, Subcommand)]
enum Verify {
    Image(Box<image::ImageArgs>),
    Product(Box<product::ProductArgs>),
    Rebuild(Box<rebuild::RebuildArgs>),
}

/// What is run, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run (in podman, without a network)")]
struct RunArgs {
    /// A file with a `#!` line of this machine, run in place of a command; what follows `--` are its arguments.
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    script: Option<PathBuf>,
    /// A task of the workspace that is in it.
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    task: Option<String>,
    /// Run these architectures only [default: all there are; one that this machine cannot run is not passed].
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<String>,
    /// The user that root becomes for podman. Without it, root's containers are not rootless, and the report says so.
    #[arg(long, value_name = "NAME")]
    as_user: Option<String>,
    /// Keep logs and report.json in this directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to run, with its arguments.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The task of a workspace as what is run, if it is the same on all architectures.
fn task_check(
    workspace: &std::path::Path,
    environment: &str,
    architectures: &[Architecture],
    name: &str,
    root: &str,
) -> Result<Check, CliError> {
    let task = |architecture: &Architecture| image_task(workspace, environment, *architecture, name);
    let tasks: Vec<TaskArgv> = architectures.iter().map(task).collect::<Result<_, _>>()?;
    let usage = |text: &str| Err(CliError::Usage(format!("task `{name}` {text}")));
    let Some(task) = tasks.first() else { return usage("is for none of the architectures; choose others with --arch") };
    if tasks.iter().any(|other| other != task) {
        return usage("is not the same on all architectures; choose one with --arch");
    }
    if task.env.iter().any(|(_, value)| value.contains('$')) {
        return usage("has variables that only a shell can expand; say the command after --");
    }
    Ok(Check {
        command: task.argv.clone(),
        script: None,
        environment: task.env.clone(),
        workdir: task.cwd.as_ref().map(|below| format!("{}/{below}", root.trim_end_matches('/'))),
    })
}

impl RunArgs {
    fn wanted(&self) -> bool {
        self.script.is_some() || self.task.is_some() || !self.command.is_empty()
    }

    /// What is run, but for a task.
    fn check(&self) -> Check {
        Check { command: self.command.clone(), script: self.script.clone(), ..Check::default() }
    }

    fn options<'a>(&'a self, surroundings: &'a Containers, interrupted: &'a AtomicBool) -> RunOptions<'a> {
        RunOptions {
            architectures: &self.arch,
            scratch: &surroundings.scratch,
            path: &surroundings.path,
            user: self.as_user.as_deref(),
            out: self.out.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
            interrupted,
        }
    }
}

pub fn run(args: VerifyArgs, output: &Output) -> Result<ExitCode, CliError> {
    match args.what {
        Verify::Image(args) => match args.sif() {
            Some(file) => sif::run(file, &args, output),
            None => image::run(&args, output),
        },
        Verify::Product(args) => product::run(&args, output),
        Verify::Rebuild(args) => rebuild::run(&args, output),
    }
}
