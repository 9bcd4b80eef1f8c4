//! `pixi-oci publish A B C`: workspaces one after another. One that fails does not keep the others from being served.

use std::{path::Path, process::ExitCode, sync::atomic::Ordering};

use pixi_oci_build::{PublishReport, PublishSource, check_apart};
use serde::Serialize;

use super::publish::{PublishArgs, announce, publish, publish_request, references};
use crate::{arguments::Selection, error::CliError, interrupt, output::Output};

/// How it ended for one workspace, in the order of the command line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Published<'a> {
    workspace: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<PublishReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Publishes them all.
pub fn run(args: &PublishArgs, dry_run: bool, output: &Output) -> Result<ExitCode, CliError> {
    if args.leg_file.is_some() || args.from.is_some() {
        return Err(CliError::Usage("--leg-file and --from are for one workspace".into()));
    }
    let workspaces = args.workspaces.all(&args.selection)?;
    let mut work = Vec::new();
    let mut requests = Vec::new();
    for workspace in &workspaces {
        let selection = Selection { workspace: Some(workspace.clone()), manifest_path: None, ..args.selection.clone() };
        let source = PublishSource::Workspace;
        let (mut request, channels) =
            publish_request(&selection, Some((&args.image, &args.layers)), &args.means, &args.registry, source)?;
        request.tags = args.tag.clone();
        request.takes_published = !args.no_cache_from;
        request.dry_run = dry_run;
        requests.push(request);
        work.push((workspace, channels));
    }
    check_apart(&requests)?;
    let mut all = Vec::new();
    let mut complete = true;
    for ((workspace, channels), request) in work.iter().zip(&requests) {
        output.say(&format!("{}:", workspace.display()));
        let mut published = Published { workspace, report: None, error: None };
        match publish(request, channels, output) {
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
    let text = if args.json { serde_json::to_string_pretty(&all)? } else { lines().collect::<Vec<_>>().join("\n") };
    if !text.is_empty() {
        output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
