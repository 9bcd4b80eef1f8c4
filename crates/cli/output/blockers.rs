//! Refusals that a pipeline can tell apart: one line `BLOCKER(name): text` on stderr, then what to do.

use pixi_oci_publish::{FailureReport, hint};

use crate::output::Output;

/// Says that something blocks, and what to do.
pub fn show(output: &Output, name: &str, text: &str) {
    output.blocker(name, text);
    if let Some(hint) = hint(name) {
        output.hint(hint);
    }
}

/// Says why a repository failed.
pub fn failure(output: &Output, repository: &str, failure: &FailureReport) {
    let text = format!("{repository}: {}", failure.message);
    match failure.blocker {
        Some(name) => show(output, name, &text),
        None => output.failure(&text),
    }
}
