//! `pixi-oci install-product`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use pixi_oci_airgap::{InstallRequest, install_product};

use crate::{commands::product::own_platform, error::CliError, means::MEMORY, output::Output, result::print};

/// Install an environment of an air-gap product, without pixi and without a network.
///
/// The prefix gets the bytes that it has in the image of the same lock file at the same path. Prints the prefix. The product's
/// `bootstrap-project.sh --no-pixi` calls this, after it has checked the product as a whole.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci install-product product --prefix /srv/env --activate /srv/activate.sh
  . /srv/activate.sh                # sets the environment up for a shell")]
pub struct InstallProductArgs {
    /// The product.
    #[arg(value_name = "PRODUCT")]
    product: PathBuf,
    /// Where the environment goes; programs in it only work there. An environment that is there is replaced.
    #[arg(long, value_name = "DIR")]
    prefix: PathBuf,
    /// The environment.
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    environment: String,
    /// The conda platform [default: this machine's].
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Where the project is [default: the one in the product].
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Write a script that sets the environment up when a shell sources it.
    #[arg(long, value_name = "FILE")]
    activate: Option<PathBuf>,
}

pub fn run(args: InstallProductArgs, output: &Output) -> Result<ExitCode, CliError> {
    let own = || CliError::Usage("there are no packages for this machine; say --platform".into());
    let platform = args.platform.or_else(|| own_platform().map(str::to_owned)).ok_or_else(own)?;
    let interrupted = crate::interrupt::flag();
    let prefix = install_product(&InstallRequest {
        product: args.product,
        environment: args.environment,
        platform,
        prefix: args.prefix,
        project: args.project,
        activate: args.activate,
        memory: MEMORY,
        interrupted: &interrupted,
    })?;
    print(&prefix.display().to_string(), output)
}
