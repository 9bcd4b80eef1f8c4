//! The command line as a whole: its commands, and how much is said. The doc comments are the help texts.

use std::{io::IsTerminal, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::{
    commands::{
        build, cache, completion, install_product, layers, lock, man, plan, product, prune, publish, publish_index,
        verify,
    },
    error::CliError,
    output::{Output, Shape, Verbosity},
};

/// Pixi workspaces as reproducible OCI images: no daemon, no root, no QEMU, and no package's code is run.
#[derive(Debug, Parser)]
#[command(name = "pixi-oci", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Build(Box<build::BuildArgs>),
    Plan(Box<plan::PlanArgs>),
    Lock(lock::LockArgs),
    Publish(Box<publish::PublishArgs>),
    PublishIndex(Box<publish_index::PublishIndexArgs>),
    Layers(Box<layers::LayersArgs>),
    Prune(Box<prune::PruneArgs>),
    Cache(cache::CacheArgs),
    Product(Box<product::ProductArgs>),
    InstallProduct(install_product::InstallProductArgs),
    Verify(verify::VerifyArgs),
    Completion(completion::CompletionArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
}

impl Command {
    pub fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        match self {
            Self::Build(args) => build::run(*args, output),
            Self::Plan(args) => plan::run(*args, output),
            Self::Lock(args) => lock::run(args, output),
            Self::Publish(args) => publish::run(*args, output),
            Self::PublishIndex(args) => publish_index::run(*args, output),
            Self::Layers(args) => layers::run(*args, output),
            Self::Prune(args) => prune::run(*args, output),
            Self::Cache(args) => cache::run(args, output),
            Self::Product(args) => product::run(*args, output),
            Self::InstallProduct(args) => install_product::run(args, output),
            Self::Verify(args) => verify::run(args, output),
            Self::Completion(args) => completion::run(&args, Cli::command(), output),
            Self::Man(args) => man::run(&args, Cli::command(), output),
        }
    }
}

/// How much is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Common {
    /// Say more: each package and layer.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Say errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// How progress is shown, on stderr: bars on a terminal and else lines (auto), lines, JSON events (docs/events.md), or
    /// not at all [default: auto].
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    progress: Option<ProgressForm>,
    /// The same as --progress none; what --progress says wins.
    #[arg(long, global = true, hide = true, env = "PIXI_NO_PROGRESS", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    no_progress: bool,
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, env = "PIXI_COLOR", hide_env_values = true)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressForm {
    Auto,
    Plain,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Always,
    Never,
    Auto,
}

impl Common {
    pub fn output(&self) -> Output {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: present and not empty.
            Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Output::new(verbosity, color, self.shape())
    }

    fn shape(&self) -> Shape {
        let auto = if self.no_progress { ProgressForm::None } else { ProgressForm::Auto };
        match self.progress.unwrap_or(auto) {
            // What cannot move its cursor cannot redraw.
            ProgressForm::Auto
                if std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") =>
            {
                Shape::Bars
            }
            ProgressForm::Auto | ProgressForm::Plain => Shape::Plain,
            ProgressForm::Json => Shape::Json,
            ProgressForm::None => Shape::Silent,
        }
    }
}
