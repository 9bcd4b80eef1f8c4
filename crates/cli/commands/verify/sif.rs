//! `pixi-oci verify image sif:FILE`

use std::{path::Path, process::ExitCode};

use pixi_oci_verify::{Severity, Verdict, verify_layout, verify_sif};

use super::{
    image::{ImageArgs, Layout, findings, wrong_things},
    show,
};
use crate::{error::CliError, output::Output};

pub fn run(file: &Path, args: &ImageArgs, output: &Output) -> Result<ExitCode, CliError> {
    let scratch = crate::surroundings::containers().scratch;
    if args.run.wanted() {
        let text = format!("a SIF is run by Apptainer: `apptainer exec {}`", file.display());
        return Err(CliError::Usage(text));
    }
    let read = |source| CliError::Io { action: format!("read {}", file.display()), source };
    let layout =
        args.against.as_ref().map(|image| Layout::find(image, &args.registry, &scratch, output)).transpose()?;
    let against = layout.as_ref().map(|layout| {
        let report = verify_layout(&layout.dir, layout.tag.as_deref())?;
        Ok::<_, CliError>((&*layout.dir, report))
    });
    let against = against.transpose()?;
    if let Some((_, report)) = &against
        && !report.is_sound()
    {
        findings(&report.findings, output);
        let text = "the image to compare with is damaged; `pixi-oci verify image` says more of it";
        return Err(CliError::Usage(text.into()));
    }
    let mut report = verify_sif(file, against.as_ref().map(|(dir, report)| (*dir, report))).map_err(read)?;
    if args.strict {
        report.findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }
    let summary = match findings(&report.findings, output) {
        0 if report.compared => format!("{}: {} entries, those of the OCI image", args.image, report.entries),
        0 => format!("{}: {} entries, and every block can be read", args.image, report.entries),
        n => wrong_things(&args.image, n),
    };
    let sound = report.is_sound();
    let verdict = Verdict::new(args.image.clone(), None, report, sound, None);
    show::show(&verdict, &summary, args.run.out.as_deref(), args.json, output)
}
