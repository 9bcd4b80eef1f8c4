//! One file a subcommand: its arguments, whose doc comments are the help, and one function.

pub mod build;
pub mod completion;
pub mod install_product;
pub mod lock;
pub mod man;
pub mod plan;
pub mod product;
pub mod prune;
pub mod publish;
pub mod publish_fleet;
pub mod publish_index;
pub mod verify;

use std::process::ExitCode;

use crate::{arguments::Command, error::CliError, output::Output};

/// Runs a command.
pub fn run(command: Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Build(args) => build::run(*args, output),
        Command::Completion(args) => completion::run(&args, output),
        Command::Lock(args) => lock::run(args, output),
        Command::Man(args) => man::run(&args, output),
        Command::Plan(args) => plan::run(*args, output),
        Command::Product(args) => product::run(*args, output),
        Command::CheckProduct(args) => product::check(&args, output),
        Command::InstallProduct(args) => install_product::run(args, output),
        Command::Publish(args) => publish::run(*args, output),
        Command::PublishIndex(args) => publish_index::run(*args, output),
        Command::Prune(args) => prune::run(*args, output),
        Command::Verify(args) => verify::run(args, output),
    }
}
