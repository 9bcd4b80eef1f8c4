//! placeholder
use crate::{error::CliError, output::Output};
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {}
pub fn run(_: VerifyArgs, _: &Output) -> Result<std::process::ExitCode, CliError> {
    Ok(std::process::ExitCode::SUCCESS)
}
