//! The documents of a layout that is verified: what the reader refuses is a finding.

use oci_read::document::{Document, ImageConfig, OCI_INDEX, ParseDocumentError};

use crate::report::{Findings, Rule, printable};

/// Parses an index or manifest. `media_type` is what its descriptor says; `None` for `index.json`, which has none.
pub(crate) fn parse(
    bytes: &[u8],
    media_type: Option<&str>,
    subject: &str,
    findings: &mut Findings,
) -> Option<Document> {
    let document = Document::parse(media_type.unwrap_or(OCI_INDEX), bytes)
        .map_err(|error| refused(&error, subject, findings))
        .ok()?;
    let common = document.common();
    if common.schema_version != Some(2) {
        findings.error(Rule::Document, subject, "its schemaVersion is not 2");
    }
    // Only `index.json` is known from its place alone.
    if let (Some(expected), true) = (media_type, common.media_type.is_empty()) {
        findings.error(Rule::MediaType, subject, format!("does not itself say that it is {expected}"));
    }
    Some(document)
}

pub(crate) fn parse_config(bytes: &[u8], subject: &str, findings: &mut Findings) -> Option<ImageConfig> {
    let config = ImageConfig::parse(bytes).map_err(|error| refused(&error, subject, findings)).ok()?;
    if config.os.is_empty() || config.architecture.is_empty() {
        findings.error(Rule::Document, subject, "does not say its os and architecture");
        return None;
    }
    Some(config)
}

fn refused(error: &ParseDocumentError, subject: &str, findings: &mut Findings) {
    let (rule, text) = match error {
        ParseDocumentError::MediaType { .. } => (Rule::MediaType, "is of another type"),
        ParseDocumentError::Layers => (Rule::LayerCount, "is not read"),
        _ => (Rule::Document, "is not of the form of its type"),
    };
    findings.error(rule, subject, format!("{text}: {}", printable(error.to_string().as_bytes())));
}
