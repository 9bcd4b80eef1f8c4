//! pixi-oci: Pixi workspaces as reproducible OCI images.
//!
//! Parse, run the command, say how it went. Exit codes: 0 done, 1 could not, 2 wrong usage, 3 verified and it failed,
//! 130 and 143 interrupted.

// The command line is where the environment is read; the library gets values.
#![allow(clippy::disallowed_methods)]
// Doc comments are help texts here: `[:TAG]` and `<FILE>` are no links and no tags.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]

mod args;
mod changed;
mod channels;
mod cli;
mod commands;
mod error;
mod habits;
mod interrupt;
mod means;
mod output;
mod publication;
mod result;
mod surroundings;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{cli::Cli, output::events::Line};

fn main() -> ExitCode {
    pixi_oci_platform::one_heap_a_cpu();
    pixi_oci_platform::large_files_are_errors();
    pixi_oci_platform::allow_more_open_files();
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let command = matches.subcommand_name().unwrap_or_default().to_owned();
        Ok((command, Cli::from_arg_matches(&matches)?))
    });
    let (command, cli) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return output::parsing_failed(&error),
    };
    let output = cli.common.output();
    let (version, release) = (output::events::VERSION, env!("CARGO_PKG_VERSION"));
    output.event(&Line::Started { version, release, command: &command });
    interrupt::watch_signals(&output);
    let code = match (cli.command.run(&output), interrupt::exit_code()) {
        (Ok(code), _) => code,
        // Whatever failed, it failed because an end was wanted.
        (Err(_), Some(code)) => {
            output.failure("interrupted");
            ExitCode::from(code)
        }
        (Err(error), None) => {
            error.show(&output);
            ExitCode::from(error.exit_code())
        }
    };
    output.event(&Line::Finished { exit_code: number(code) });
    code
}

/// `ExitCode` does not say what it is.
fn number(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or_default()
}
