//! How a verdict is shown and kept.

use std::{path::Path, process::ExitCode};

use pixi_oci_verify::{Outcome, Run, Verdict};
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
    for run in &verdict.runs {
        if run.outcome == Outcome::Failed {
            output.failure(format!("{}\n{}", line(run), run.said).trim_end());
        }
    }
    if verdict.isolation.as_ref().is_some_and(|isolation| !isolation.rootless) {
        output.warning("the containers were root's: not rootless; --as-user NAME makes them so");
    }
}

fn lines<T: Serialize>(verdict: &Verdict<T>, summary: &str) -> Vec<String> {
    [summary.to_owned()].into_iter().chain(verdict.runs.iter().map(line)).collect()
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

fn line(run: &Run) -> String {
    let how = match run.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::NotRun => "not run",
    };
    let emulated = if run.emulated && run.outcome != Outcome::NotRun { " under QEMU" } else { "" };
    let time = run.seconds.map(|seconds| format!(" in {seconds:.1} s")).unwrap_or_default();
    let reason = run.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{}: {how}{emulated}{time}{reason}", run.platform)
}
