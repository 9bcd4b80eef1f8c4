//! `pixi-oci completion`

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::{error::CliError, output::Output, result::print};

/// Print what a shell needs to complete our commands and options.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci completion --shell bash > ~/.local/share/bash-completion/completions/pixi-oci
  pixi-oci completion --shell fish > ~/.config/fish/completions/pixi-oci.fish
  eval \"$(pixi-oci completion --shell zsh)\"                        # in ~/.zshrc, after compinit")]
pub struct CompletionArgs {
    /// The shell.
    #[arg(short, long, value_enum)]
    pub shell: Shell,
}

pub fn run(args: &CompletionArgs, mut cli: Command, output: &Output) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut cli, "pixi-oci", &mut script);
    print(String::from_utf8_lossy(&script).trim_end(), output)
}
