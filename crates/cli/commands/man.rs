//! `pixi-oci man`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Command};

use crate::{error::CliError, output::Output, result::print};

/// Write the manual pages, one for each command, to a directory.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory, which is made if it is not there.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

pub fn run(args: &ManArgs, cli: Command, output: &Output) -> Result<ExitCode, CliError> {
    let failed = |source| CliError::Io { action: format!("write to {}", args.directory.display()), source };
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(cli, &args.directory).map_err(failed)?;
    print(&args.directory.display().to_string(), output)
}
