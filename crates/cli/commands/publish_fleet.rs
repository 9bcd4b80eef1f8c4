//! `pixi-oci publish A B C`: workspaces one after another. One that fails does not keep the others from being served.

use std::{path::Path, process::ExitCode, sync::atomic::Ordering};

use pixi_oci_publish::{PublishReport, PublishRequest, check_apart};
use serde::Serialize;

use crate::{
    error::CliError,
    interrupt,
    output::Output,
    publication::{Publication, announce, references},
    result::print_report,
};

/// How it ended for one workspace, in the order of the command line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkspaceOutcome<'a> {
    workspace: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<PublishReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn publish_all(fleet: &[(Publication, PublishRequest)], json: bool, output: &Output) -> Result<ExitCode, CliError> {
    check_apart(fleet.iter().map(|(_, request)| request))?;
    let mut all = Vec::new();
    let mut complete = true;
    for (publication, request) in fleet {
        let workspace = publication.path.as_path();
        output.say(&format!("{}:", workspace.display()));
        let mut published = WorkspaceOutcome { workspace, report: None, error: None };
        match publication.publish(request, output) {
            Ok(report) => {
                announce(&report, output);
                complete &= report.is_complete();
                published.report = Some(report);
            }
            Err(error) if interrupt::flag().load(Ordering::Relaxed) => return Err(error),
            Err(error) => {
                error.show(output);
                complete = false;
                published.error = Some(error.to_string());
            }
        }
        all.push(published);
    }
    let lines = || all.iter().filter_map(|one| one.report.as_ref()).map(references).filter(|text| !text.is_empty());
    print_report(&all, json, || lines().collect::<Vec<_>>().join("\n"), output)?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
