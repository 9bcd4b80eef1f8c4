//! What was published, for people.

use pixi_oci_plan::size;

use super::{DestinationReport, Status};

impl DestinationReport {
    /// How it went, if it went well.
    pub fn lines(&self) -> Vec<String> {
        let word = match self.status {
            Status::Published => "sent",
            Status::WouldPublish | Status::NotChecked => "to send",
            Status::Failed | Status::NotTried => return Vec::new(),
        };
        let Self { repository, uploaded, manifests, mounted, present, .. } = self;
        let (blobs, manifests, size) = (uploaded.len(), manifests.len(), size(self.bytes));
        let (mounted, there) = (mounted.len(), present.len());
        let mut lines = vec![format!(
            "{repository}: {blobs} blobs and {manifests} manifests {word}, {size}; {mounted} blobs mounted, {there} there"
        )];
        if self.status == Status::NotChecked {
            let host = repository.trim_start_matches("oras://").split('/').next().unwrap_or_default();
            lines.push(format!("  not checked at {host}: no login (BLOCKER(empty-token) with --publish)"));
        }
        lines.extend(self.tags.iter().map(|tag| {
            let before = match tag.previous {
                Some(previous) if previous == tag.digest => " (unchanged)".to_owned(),
                Some(previous) => format!(" (was {previous})"),
                None => String::new(),
            };
            format!("  {} {}{before}", tag.tag, tag.digest)
        }));
        lines
    }
}
