//! How a verdict is shown and kept.

use std::{path::Path, process::ExitCode};

use pixi_oci_verify::{Outcome, Run, Verdict};
use serde::Serialize;

use crate::{error::CliError, output::Output};

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
    for run in &verdict.runs {
        if run.outcome == Outcome::Failed {
            output.failure(format!("{}\n{}", line(run), run.said).trim_end());
        }
    }
    if verdict.isolation.as_ref().is_some_and(|isolation| !isolation.rootless) {
        output.warning("the containers were root's: not rootless; --as-user NAME makes them so");
    }
    let lines: Vec<String> = [summary.to_owned()].into_iter().chain(verdict.runs.iter().map(line)).collect();
    let text = if json { document } else { lines.join("\n") };
    output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(match verdict.verdict {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(FAILED),
        Outcome::NotRun => {
            output.warning("what was not run is not verified; --arch says what is to be run");
            ExitCode::from(NOT_RUN)
        }
    })
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
