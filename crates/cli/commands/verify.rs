//! `pixi-oci verify`

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};
use pixi_oci_verify::{Severity, verify_layout};

use crate::{error::CliError, output::Output};

/// Check what was built.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(subcommand)]
    what: Verify,
}

#[derive(Debug, Subcommand)]
enum Verify {
    Image(ImageArgs),
}

/// Recompute every digest, size and diff id of an OCI layout, and check the layers' entries.
///
/// Exits with 3 if anything is wrong. The image is not run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci verify image oci:dist/oci
  pixi-oci verify image oci:dist/oci:1.0 --json")]
struct ImageArgs {
    /// The layout: oci:DIR[:TAG].
    #[arg(value_name = "DEST", default_value = "oci:dist/oci")]
    image: String,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// So that CI can tell "it is wrong" from "it could not be looked at".
const FAILED: u8 = 3;

/// Runs the command.
pub fn run(args: VerifyArgs, output: &Output) -> Result<ExitCode, CliError> {
    let Verify::Image(args) = args.what;
    let usage = || CliError::Usage(format!("{:?} is not oci:DIR[:TAG]", args.image));
    let rest = args.image.strip_prefix("oci:").filter(|rest| !rest.is_empty()).ok_or_else(usage)?;
    let (dir, tag) = rest.split_once(':').map_or((rest, None), |(dir, tag)| (dir, Some(tag)));
    let report = verify_layout(Path::new(dir), tag)?;
    let wrong = report.errors().count();
    for finding in &report.findings {
        let place = finding.path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
        let line = format!("{}: {}{place}: {}", finding.rule, finding.subject, finding.detail);
        match finding.severity {
            Severity::Error => output.failure(&line),
            // Base images have whiteouts and set-user-id programs.
            Severity::Notice => output.note(&line),
        }
    }
    let verdict = match wrong {
        0 => format!("{}: {} images; every digest, size and diff id is right", args.image, report.images.len()),
        n => format!("{}: {n} {} wrong", args.image, if n == 1 { "thing is" } else { "things are" }),
    };
    let text = if args.json { serde_json::to_string_pretty(&report)? } else { verdict };
    output.result(&text).map_err(|source| CliError::Io { action: "write to stdout".into(), source })?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
