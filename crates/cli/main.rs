//! pixi-oci: Pixi workspaces as reproducible OCI images.
//!
//! Parse, run the command, say how it went. Exit codes: 0 done, 1 could not, 2 wrong usage, 3 verified and it failed,
//! 130 and 143 interrupted.

// The command line is where the environment is read; the library gets values.
#![allow(clippy::disallowed_methods)]
// Doc comments are help texts here: `[:TAG]` and `<FILE>` are no links and no tags.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]

mod arguments;
mod blockers;
mod changed;
mod channels;
mod commands;
mod error;
mod interrupt;
mod matrix;
mod output;
mod plan_table;
mod progress;
mod registries;
mod version;
mod workspaces;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.common.output();
    interrupt::watch_signals();
    match commands::run(cli.command, &output) {
        Ok(code) => code,
        Err(error) => {
            error.show(&output);
            ExitCode::from(error.exit_code())
        }
    }
}
