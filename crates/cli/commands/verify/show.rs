//! How a verdict is shown and kept.

use std::{path::Path, process::ExitCode};

use pixi_oci_verify::{Outcome, Verdict};
use serde::Serialize;

use crate::{error::CliError, output::Output, result::print};

/// So that CI can tell "it is wrong" from "it could not be looked at".
const FAILED: u8 = 3;
const NOT_RUN: u8 = 1;

/// Says what was found; keeps it in `out`. `summary` is about the structure.
pub fn show<T: Serialize>(
    verdict: &Verdict<T>,
    summary: &str,
    out: Option<&Path>,
    json: bool,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let document = serde_json::to_string_pretty(verdict)?;
    if let Some(out) = out {
        let path = out.join("report.json");
        let write = std::fs::create_dir_all(out).and_then(|()| std::fs::write(&path, format!("{document}\n")));
        write.map_err(|source| CliError::Io { action: format!("write {}", path.display()), source })?;
    }
    failures(verdict, output);
    let text = if json { document } else { lines(verdict, summary).join("\n") };
    print(&text, output)?;
    Ok(exit_code(verdict, output))
}

/// Says what was found of something whose result is shown otherwise.
pub fn say<T: Serialize>(verdict: &Verdict<T>, summary: &str, output: &Output) -> ExitCode {
    failures(verdict, output);
    lines(verdict, summary).iter().for_each(|line| output.say(line));
    exit_code(verdict, output)
}

fn failures<T: Serialize>(verdict: &Verdict<T>, output: &Output) {
    for run in &verdict.ran.runs {
        if run.outcome == Outcome::Failed {
            output.failure(format!("{run}\n{}", run.said).trim_end());
        }
    }
    if verdict.ran.isolation.as_ref().is_some_and(|isolation| !isolation.rootless) {
        output.warning("the containers were root's: not rootless; --as-user NAME makes them so");
    }
}

fn lines<T: Serialize>(verdict: &Verdict<T>, summary: &str) -> Vec<String> {
    [summary.to_owned()].into_iter().chain(verdict.ran.runs.iter().map(ToString::to_string)).collect()
}

fn exit_code<T: Serialize>(verdict: &Verdict<T>, output: &Output) -> ExitCode {
    match verdict.verdict {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(FAILED),
        Outcome::NotRun => {
            output.warning("what was not run is not verified; --arch says what is to be run");
            ExitCode::from(NOT_RUN)
        }
    }
}
