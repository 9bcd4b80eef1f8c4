//! `pixi-oci publish A B C`: workspaces one after another. One that fails does not keep the others from being served.

use std::{path::Path, process::ExitCode, sync::atomic::Ordering};

use pixi_oci_publish::{PublishReport, PublishRequest, PublishSource, check_apart};
use serde::Serialize;

use super::publish::{Publication, PublishArgs, announce, references};
use crate::{error::CliError, interrupt, output::Output};

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
        let selection = args.selection.of(workspace);
        let image = Some((&args.image, &args.layers));
        let publication = Publication::new(&selection, image, &args.means, &args.registry, false)?;
        let request = publication.request(PublishSource::Workspace)?;
        let takes_published = !args.no_cache_from;
        requests.push(PublishRequest { tags: args.tag.clone(), takes_published, dry_run, ..request });
        work.push(publication);
    }
    check_apart(&requests)?;
    let mut all = Vec::new();
    let mut complete = true;
    for (publication, request) in work.iter().zip(&requests) {
        let workspace = publication.path.as_path();
        output.say(&format!("{}:", workspace.display()));
        let mut published = Published { workspace, report: None, error: None };
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
    let text = if args.json { serde_json::to_string_pretty(&all)? } else { lines().collect::<Vec<_>>().join("\n") };
    if !text.is_empty() {
        output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
