//! What went wrong, and how it is shown.

use std::{io, path::PathBuf};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};
use pixi_oci_platform::is_harmful;
use pixi_oci_publish::PublishError;
use pixi_oci_workspace::ManifestError;

use crate::{
    output::blockers,
    output::text::{chain, printable},
    output::{Output, Shape},
};

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Build(#[from] pixi_oci_plan::Error),
    #[error(transparent)]
    Product(pixi_oci_airgap::Error),
    #[error(transparent)]
    Workspace(#[from] pixi_oci_workspace::Error),
    #[error(transparent)]
    Net(#[from] pixi_oci_net::Error),
    #[error(transparent)]
    Verify(#[from] pixi_oci_verify::Error),
    /// An image and what was made again have nothing in common.
    #[error(transparent)]
    Comparison(#[from] pixi_oci_verify::ComparisonError),
    #[error(transparent)]
    Run(#[from] pixi_oci_verify::RunError),
    #[error(transparent)]
    Archive(#[from] pixi_oci_verify::ArchiveError),
    #[error(transparent)]
    Pull(#[from] pixi_oci_store::PullError),
    #[error(transparent)]
    Container(#[from] pixi_oci_podman::ContainerError),
    #[error(transparent)]
    Base(#[from] pixi_oci_store::base::BaseError),
    #[error(transparent)]
    Engine(#[from] pixi_oci_podman::Error),
    #[error(transparent)]
    Store(#[from] pixi_oci_store::Error),
    #[error(transparent)]
    Publication(PublishError),
    #[error("{0}")]
    Usage(String),
    #[error("cannot {action}")]
    Io { action: String, source: io::Error },
    /// A lock file that was only to be checked.
    #[error("{} is not what the manifest wants now; run `pixi-oci lock` or `pixi lock`", path.display())]
    LockChanged { path: PathBuf },
    /// A lock file that was only to be checked has the right packages.
    #[error("{} has what the manifest wants, but would be written in another form (it is of another format, or was changed by hand); run `pixi-oci lock` or `pixi lock`", path.display())]
    LockRewritten { path: PathBuf },
    #[error("the base images in {} are not pinned to what their names mean now; run `pixi-oci lock --base`", path.display())]
    BaseChanged { path: PathBuf },
    #[error("cannot compare {} with {since}: {reason}", workspace.display())]
    Since { workspace: PathBuf, since: String, reason: String },
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
}

impl CliError {
    /// As documented in `main`.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    fn manifest(&self) -> Option<&ManifestError> {
        match self {
            Self::Build(error) => error.manifest(),
            Self::Workspace(pixi_oci_workspace::Error::Manifest(error)) => Some(error),
            _ => None,
        }
    }

    /// Shows the error on stderr; one in the manifest with the line and a caret.
    pub fn show(&self, output: &Output) {
        if let Some(error) = self.manifest() {
            return match output.shape {
                Shape::Json => output.error(self),
                _ => output.line(&drawn(error, output.color)),
            };
        }
        match self {
            Self::Publication(error) if let Some(name) = error.name() => {
                blockers::show(output, name, &error.to_string())
            }
            _ if is_disk_full(self) => {
                blockers::show(output, "disk-full", &chain(self));
            }
            _ => output.error(self),
        }
    }
}

/// Wherever it happened: a pipeline wants to know it by one name.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    })
}

impl From<pixi_oci_project::Error> for CliError {
    fn from(error: pixi_oci_project::Error) -> Self {
        Self::Build(error.into())
    }
}

impl From<pixi_oci_airgap::Error> for CliError {
    fn from(error: pixi_oci_airgap::Error) -> Self {
        match error {
            pixi_oci_airgap::Error::Plan(error) => Self::Build(error),
            error => Self::Product(error),
        }
    }
}

impl From<PublishError> for CliError {
    /// A build that fails on the way to a registry fails as any other.
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Build(error) => Self::Build(error),
            error => Self::Publication(error),
        }
    }
}

fn drawn(error: &ManifestError, color: bool) -> String {
    let mut diagnostic = MietteDiagnostic::new(printable(&error.message));
    if let Some(span) = &error.span {
        diagnostic = diagnostic.with_label(LabeledSpan::new_with_span(None, span.clone()));
    }
    if let Some(hint) = &error.hint {
        diagnostic = diagnostic.with_help(printable(hint));
    }
    // Of the same length, so that the label stays in its place.
    let is_shown = |c| !is_harmful(c) || matches!(c, '\n' | '\t');
    let text: String =
        error.text.chars().map(|c| if is_shown(c) { c.to_string() } else { "?".repeat(c.len_utf8()) }).collect();
    let source = NamedSource::new(printable(&error.path.display().to_string()), text);
    let report = Report::new(diagnostic).with_source_code(source);
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut text = String::new();
    match GraphicalReportHandler::new_themed(theme).with_links(false).render_report(&mut text, report.as_ref()) {
        Ok(()) => text,
        // Drawing failed: the words are what matters.
        Err(_) => error.to_string(),
    }
}
