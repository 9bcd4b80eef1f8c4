//! A SIF: its container, its file system walked to the last block, and its tree compared with that of an OCI image.
//!
//! The reader of squashfs knows only the format (the kernel's `squashfs_fs.h`), and depends on nothing that writes it.

mod container;
mod expected;
mod squashfs;
mod tables;

use std::{collections::BTreeMap, fs::File, io, path::Path};

use oci_read::HashReader;
use pixi_oci_platform::{Links, open};
use serde::Serialize;

use self::expected::ExpectedTree;
use crate::{
    Finding, Report,
    report::{Findings, Rule, Severity, printable},
};

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SifReport {
    pub digest: String,
    /// `amd64`, as its header says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The OCI image manifest that it says it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// How many files, directories and links are in it.
    pub entries: usize,
    /// Whether they were compared with those of the OCI image.
    pub compared: bool,
    pub findings: Vec<Finding>,
}

impl SifReport {
    /// Whether nothing is wrong. Notices do not count.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Notice)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SifEntry {
    kind: SifEntryKind,
    /// The twelve bits of chmod; links have none.
    mode: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SifEntryKind {
    Directory,
    /// The SHA-256 of its content.
    File([u8; 32]),
    Symlink(Box<[u8]>),
    Special,
}

impl SifEntry {
    fn describe(&self) -> String {
        match &self.kind {
            SifEntryKind::Directory => format!("a directory with mode {:04o}", self.mode),
            SifEntryKind::File(sha256) => {
                format!("a file with mode {:04o} and sha256:{}", self.mode, hex::encode(sha256))
            }
            SifEntryKind::Symlink(target) => format!("a link to {}", printable(target)),
            SifEntryKind::Special => "a device, pipe or socket".into(),
        }
    }
}

/// Entries by path, without a slash at either end.
pub(crate) type Entries = BTreeMap<Vec<u8>, SifEntry>;

/// Verifies a SIF; and compares it with its image in the layout `against`, which the report says is sound. A SIF that is
/// damaged is not an error: the report says so.
pub fn verify_sif(path: &Path, against: Option<(&Path, &Report)>) -> io::Result<SifReport> {
    let file = open(path, Links::Follow)?;
    let mut findings = Findings::default();
    let mut report = SifReport {
        digest: digest(&file)?,
        architecture: None,
        manifest: None,
        entries: 0,
        compared: false,
        findings: Vec::new(),
    };
    if let Err(reason) = examine(&file, against, &mut report, &mut findings) {
        match reason {
            Reason::Wrong(rule, text) => findings.error(rule, &report.digest, text),
            Reason::Io(error) => return Err(error),
        }
    }
    report.findings = findings.into_vec();
    Ok(report)
}

/// Why no more is looked at.
pub(crate) enum Reason {
    Wrong(Rule, String),
    Io(io::Error),
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn digest(file: &File) -> io::Result<String> {
    let mut hash = HashReader::new(file);
    io::copy(&mut hash, &mut io::sink())?;
    Ok(format!("sha256:{}", hex::encode(hash.finish().0)))
}

fn examine(
    file: &File,
    against: Option<(&Path, &Report)>,
    report: &mut SifReport,
    findings: &mut Findings,
) -> Result<(), Reason> {
    let container = container::read(file).map_err(|text| Reason::Wrong(Rule::Container, text))?;
    report.architecture = Some(container.architecture.to_owned());
    report.manifest = container.manifest();
    let walked = squashfs::walk(file, container.partition);
    let entries = walked.map_err(|text| Reason::Wrong(Rule::FileSystem, text))?;
    report.entries = entries.len();
    let Some((dir, layout)) = against else {
        let text = "its tree is not compared with that of its OCI image; --against IMAGE does";
        findings.notice(Rule::NotCompared, &report.digest, text);
        return Ok(());
    };
    let platform = format!("linux/{}", container.architecture);
    let image = layout.images.iter().find(|image| Some(&image.manifest) == report.manifest.as_ref());
    let Some(image) = image else {
        let manifest = report.manifest.as_deref().unwrap_or("nothing");
        let text = format!("it says that it was made of {}, which is not there", printable(manifest.as_bytes()));
        return Err(Reason::Wrong(Rule::OtherTree, text));
    };
    if !(image.platform == platform || image.platform.starts_with(&format!("{platform}/"))) {
        let text = format!("it is for {platform}, and its image for {}", image.platform);
        findings.error(Rule::Platform, &report.digest, text);
    }
    let expected = ExpectedTree::read(dir, image)?;
    expected.compare(&entries, &report.digest, findings);
    report.compared = true;
    Ok(())
}
