//! `pixi-oci verify image`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use pixi_oci_image::Architecture;
use pixi_oci_registry::{RegistryAccess, RepositoryRef};
use pixi_oci_store::{OciLayout, pull};
use pixi_oci_verify::{
    ArchiveKind, Check, Finding, Project, Report, Rule, RunError, Scratch, Severity, TEST, Verdict, run_image,
    unpack_archive, verify_layout,
};

use super::{RunArgs, accounts, show};
use crate::{args::RegistryArgs, error::CliError, interrupt, output::Output, output::progress::Progress};

/// Recompute every digest, size and diff id of an image, account for every file above the base, and run a command in it.
///
/// Of an image that pixi-oci made, each file above the base is a package's, by the package's record in the image; the
/// project's, by the list in the image; or generated, by a rule; and the packages are those of the lock file in it.
///
/// Without a command, task or script the image's own `test` is run, if it has one. It runs in podman: no network, a read-only root, the image's user or
/// one that it does not know, no capabilities; the image's entrypoint stays. Exits with 3 if anything is wrong, with 1 if
/// something could not be run.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  pixi-oci verify image oci:dist/oci
  pixi-oci verify image oci:dist/oci:1.0 --json
  pixi-oci verify image oci:dist/oci --out proof -- python -c 'import numpy'
  pixi-oci verify image docker://ghcr.io/me/tool:1.0 --arch amd64 --task test
  pixi-oci verify image sif:tool.sif --against oci:dist/oci")]
pub struct ImageArgs {
    /// The image: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE, sif:FILE, or docker://REF, which is fetched.
    #[arg(value_name = "IMAGE", default_value = "oci:dist/oci")]
    pub image: String,
    /// The OCI image that a SIF was made of: its files are compared with the SIF's.
    #[arg(long, value_name = "IMAGE")]
    pub against: Option<String>,
    /// Fail on notices, too: on everything odd, and on what could not be compared.
    #[arg(long)]
    pub strict: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

impl ImageArgs {
    pub fn sif(&self) -> Option<&Path> {
        self.image.strip_prefix("sif:").filter(|file| !file.is_empty()).map(Path::new)
    }
}

pub fn run(args: &ImageArgs, output: &Output) -> Result<ExitCode, CliError> {
    let surroundings = crate::surroundings::containers();
    if args.against.is_some() {
        return Err(CliError::Usage("--against is for a SIF; `pixi-oci verify rebuild` compares images".into()));
    }
    let layout = Layout::find(&args.image, &args.registry, &surroundings.scratch, output)?;
    let mut report = verify_layout(&layout.dir, layout.tag.as_deref())?;
    let project = accounts::project(&layout.dir, &mut report, &surroundings.scratch)?;
    if args.strict {
        report.make_strict();
    }
    let wrong = findings(&report.findings, output);
    let interrupted = interrupt::flag();
    let runs = if (args.run.wanted() || project.has_test) && report.is_sound() {
        let check = check(args, &report, &project, &surroundings.scratch)?;
        Some(run_image(&layout.dir, &report, &check, &args.run.options(&surroundings, &interrupted))?)
    } else {
        None
    };
    let sound = report.is_sound();
    let summary = match wrong {
        0 => accounts::summary(&args.image, &report),
        n => wrong_things(&args.image, n),
    };
    let verdict = Verdict::new(args.image.clone(), project.lock_file(), report, sound, runs);
    show::show(&verdict, &summary, args.run.out.as_deref(), args.json, output)
}

pub struct Layout {
    pub dir: PathBuf,
    pub tag: Option<String>,
    _fetched: Option<Scratch>,
}

impl Layout {
    pub fn find(image: &str, registry: &RegistryArgs, scratch: &Path, output: &Output) -> Result<Self, CliError> {
        let usage = || {
            let meant = [(Path::new(image).is_dir(), "oci:"), (image.contains('/'), "docker://")];
            let meant =
                meant.into_iter().find(|(is, _)| *is).map(|(_, prefix)| format!("; did you mean {prefix}{image}?"));
            CliError::Usage(format!(
                "{image:?} is not oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE, sif:FILE or docker://REF{}",
                meant.unwrap_or_default()
            ))
        };
        if image.starts_with("docker://") {
            let reference: RepositoryRef = image.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
            return Self::fetch(&reference, &registry.access(), scratch, output);
        }
        for (prefix, kind) in [("oci-archive:", ArchiveKind::Oci), ("docker-archive:", ArchiveKind::Docker)] {
            if let Some(rest) = image.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                let (file, tag) = rest.split_once(':').map_or((rest, None), |(file, tag)| (file, Some(tag.to_owned())));
                let unpacked = Scratch::new(scratch).map_err(RunError::from)?;
                let dir = unpacked.path().join("layout");
                unpack_archive(kind, Path::new(file), &dir)?;
                // The name in an archive of docker's is of no meaning for its images, which are one or of one name.
                let tag = tag.filter(|_| kind == ArchiveKind::Oci);
                return Ok(Self { dir, tag, _fetched: Some(unpacked) });
            }
        }
        let rest = image.strip_prefix("oci:").filter(|rest| !rest.is_empty()).ok_or_else(usage)?;
        let (dir, tag) = rest.split_once(':').map_or((rest, None), |(dir, tag)| (dir, Some(tag.to_owned())));
        Ok(Self { dir: dir.into(), tag, _fetched: None })
    }

    fn fetch(
        reference: &RepositoryRef,
        access: &RegistryAccess,
        scratch: &Path,
        output: &Output,
    ) -> Result<Self, CliError> {
        let fetched = Scratch::new(scratch).map_err(RunError::from)?;
        let layout = OciLayout::open(&fetched.path().join("layout"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| CliError::Io { action: "use the network".into(), source })?;
        let progress = Progress::new(output);
        let pulled = runtime.block_on(interrupt::until(pull(reference, access, &layout, progress.registry_events())));
        progress.finish();
        // It is said in one place that a signal came.
        let digest = pulled.ok_or(pixi_oci_plan::Error::Interrupted)??;
        output.note(&format!("{reference} is {digest}"));
        Ok(Self { dir: layout.dir().to_owned(), tag: None, _fetched: Some(fetched) })
    }
}

/// What is said of something in which so many things are wrong.
pub fn wrong_things(what: &str, number: usize) -> String {
    format!("{what}: {number} {} wrong", if number == 1 { "thing is" } else { "things are" })
}

/// A screenful.
const LISTED: usize = 40;

/// Says what was found, and gives the number of errors.
pub fn findings(findings: &[Finding], output: &Output) -> usize {
    let (mut shown, mut told) = (0, 0);
    for finding in findings {
        let place = finding.path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
        let line = format!("{}: {}{place}: {}", finding.rule, finding.subject, finding.detail);
        match finding.severity {
            Severity::Error => {
                shown += 1;
                if shown <= LISTED {
                    output.failure(&line);
                }
            }
            // What is accounted for in another way than usual.
            Severity::Notice if finding.rule == Rule::Inventory => {
                told += 1;
                if told <= LISTED {
                    output.say(&line);
                }
            }
            // Base images have whiteouts and set-user-id programs.
            Severity::Notice => output.note(&line),
        }
    }
    if told > LISTED {
        output.say(&format!("and {} more; --json lists all", told - LISTED));
    }
    if shown > LISTED {
        output.failure(&format!("and {} more; --json lists all", shown - LISTED));
    }
    shown
}

/// What is run: the arguments, or the task of the workspace that is in the image.
fn check(args: &ImageArgs, report: &Report, project: &Project, scratch: &Path) -> Result<Check, CliError> {
    if !args.run.wanted() {
        return Ok(Check { command: vec![TEST.to_owned()], ..Check::default() });
    }
    let Some(name) = &args.run.task else { return Ok(args.run.check()) };
    let usage = |text: String| CliError::Usage(text);
    if project.files.is_empty() {
        return Err(usage(format!(
            "{} has no workspace manifest, and so no tasks; say the command after --",
            args.image
        )));
    }
    let files = accounts::workspace(project, scratch)?;
    let environment = project.environment.as_deref().unwrap_or("default");
    let names = report.images.iter().filter_map(|image| image.platform.split('/').nth(1));
    let wanted = names.filter(|name| args.run.arch.is_empty() || args.run.arch.iter().any(|wanted| wanted == name));
    let architectures: Vec<Architecture> = wanted.filter_map(|name| name.parse().ok()).collect();
    super::task_check(files.path(), environment, &architectures, name, &project.workdir)
}
