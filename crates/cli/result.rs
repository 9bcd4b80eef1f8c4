//! The result of a command: what it prints on stdout.

use std::process::ExitCode;

use serde::Serialize;

use crate::{error::CliError, output::Output};

/// Prints the result, if there is one.
pub fn print(text: &str, output: &Output) -> Result<ExitCode, CliError> {
    if !text.is_empty() {
        output.result(text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a report as one JSON document, or as text.
pub fn print_report(
    report: &impl Serialize,
    json: bool,
    text: impl FnOnce() -> String,
    output: &Output,
) -> Result<ExitCode, CliError> {
    print(&if json { serde_json::to_string_pretty(report)? } else { text() }, output)
}
