//! Recompute what an OCI layout says of itself, with none of the code that wrote it.
//!
//! [`verify_layout`] reads every document and layer that a layout's `index.json` leads to, and computes anew each
//! digest, size and diff id; it compares counts, media types and platforms between documents, and looks at each tar
//! entry, by itself and on top of the layers below. It and the reader that it shares with base images depend on nothing that
//! writes images, so that a mistake that was made when the bytes were written is not made a second time.
//!
//! What is wrong with the *content* is a [`Finding`]; an [`Error`] says only that there was nothing to verify.
//! The layout may come from anybody: memory is bounded, nothing is written, and no text of it is passed on unescaped.
//!
//! # What is in the layers
//!
//! Of an image of ours that is sound so far, everything above the base is accounted for: see [`ImageReport::accounted`].
//!
//! # SIF files
//!
//! [`verify_sif`] walks the file system of a SIF, and compares it with the OCI image that it was made of.
//!
//! # Layers of ours and of the base
//!
//! Layers of distributions legally have setuid programs, devices and whiteouts, and replace links by directories; that
//! is a notice. Layers of ours never do; there it is an error. An image's base layers are those below the first whose history begins with `pixi-oci:`, if the
//! manifest has the annotation `org.opencontainers.image.base.digest`; without it there are none. What breaks the
//! specification or escapes from the image is an error in any layer.

mod accounts;
mod archive;
mod compare;
mod layer;
mod layout;
mod origin;
mod peek;
mod places;
mod purpose;
mod recompute;
mod report;
mod run;
mod sif;
mod tree;
mod verdict;

use std::path::{Path, PathBuf};

pub use archive::{ArchiveError, ArchiveKind, unpack_archive};
pub use compare::{
    Comparison, ComparisonError, DocumentDifference, ImageComparison, LayerComparison, Sameness, compare,
};
pub use origin::{Origin, read_origin};
pub use peek::{Project, TEST, read_project};
/// A directory that goes away with this process, and why it cannot be made.
pub use pixi_oci_podman::Scratch;
pub use report::{Finding, ImageReport, LayerReport, PackageKind, PackageRecord, Report, Root, Rule, Severity};
pub use run::{BaseLayout, Check, RunError, RunOptions, SoundProduct, run_image, run_product};
pub use sif::{SifReport, verify_sif};
pub use verdict::{Isolation, Outcome, Run, Runs, Tools, Verdict};

use report::Findings;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files that every layout has are not there.
    #[error("{} is not an OCI layout, such as `pixi-oci build` writes: cannot read {file}", dir.display())]
    NotALayout {
        dir: PathBuf,
        /// `oci-layout` or `index.json`.
        file: &'static str,
        source: std::io::Error,
    },
    /// The layout's own index cannot be understood, so nothing can be found from it.
    #[error("{} is not an OCI layout: {reason}", dir.display())]
    BadIndex { dir: PathBuf, reason: String },
    #[error("no image named {tag:?} in {}; it has {}", dir.display(), list(known))]
    UnknownTag { dir: PathBuf, tag: String, known: Vec<String> },
    #[error("{} has no images: its index.json is empty", dir.display())]
    Empty { dir: PathBuf },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no named images".into() } else { names.join(", ") }
}

/// Verifies all images of the layout in `dir`, or those whose `org.opencontainers.image.ref.name` is `tag`.
///
/// Layers that several images share are read once; layers are read in parallel, in the current rayon pool. A damaged image
/// is not an error: the report says so.
pub fn verify_layout(dir: &Path, tag: Option<&str>) -> Result<Report, Error> {
    let mut findings = Findings::default();
    let layout::LayoutContent { roots, images } = layout::read_images(dir, tag, &mut findings)?;
    let layers = layer::read_layers(dir, &images, &mut findings);
    let mut steps = oci_read::limits::STEPS;
    let mut reports: Vec<_> = images.iter().map(|image| image.report(&layers, &mut steps, &mut findings)).collect();
    // Of what is damaged, nothing is read.
    if !findings.has_errors() {
        for (image, report) in images.iter().zip(&mut reports) {
            if let Some(packages) = image.account(&layers, &mut findings) {
                (report.accounted, report.packages) = (true, packages);
            }
        }
    }
    let images = reports;
    Ok(Report { roots, images, findings: findings.into_vec() })
}

#[cfg(test)]
mod tests;
