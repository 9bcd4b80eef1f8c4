//! What a verification says.

use std::collections::HashMap;

use pixi_oci_platform::escape;
use serde::Serialize;

/// All that was computed, and all that was found wrong or strange.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The entries of `index.json` from which everything else was found.
    pub roots: Vec<Root>,
    /// The images that were found, in the order of the documents that name them.
    pub images: Vec<ImageReport>,
    /// In the order in which they were found: at most 20 of one rule for one blob, and 1000 in all. Where there were
    /// more, the last one says so.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong. Notices do not count.
    pub fn is_sound(&self) -> bool {
        self.errors().next().is_none()
    }

    /// Makes errors of notices: nothing may be left that was not compared.
    pub fn make_strict(&mut self) {
        self.findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }

    /// Adds what the lock file in an image has otherwise.
    pub fn not_locked(&mut self, image: &str, differences: Vec<String>) {
        self.findings.extend(differences.into_iter().map(|detail| Finding {
            severity: Severity::Error,
            rule: Rule::NotLocked,
            subject: image.to_owned(),
            path: None,
            detail,
        }));
    }

    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// An entry of `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Its `org.opencontainers.image.ref.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the image index or manifest.
    pub digest: String,
    pub media_type: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageReport {
    pub manifest: String,
    pub config: String,
    /// `linux/amd64`, as the image configuration says.
    pub platform: String,
    /// How many of the image's layers, from the lowest, are those of its base image.
    pub base_layers: usize,
    /// From the lowest to the highest; layers that could not be read are left out, and are a finding.
    pub layers: Vec<LayerReport>,
    /// Whether everything above the base was accounted for, or is a finding. An image that pixi-oci did not make is not
    /// accounted for, nor is a layout in which something more basic is wrong.
    pub accounted: bool,
    /// The packages that have records in the image, if it was accounted for; sorted.
    pub packages: Vec<PackageRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageRecord {
    pub kind: PackageKind,
    /// Its normalised name.
    pub name: String,
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Of the archive of a conda package: 64 hex digits. Wheels leave nothing of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageKind {
    /// It has a record in `conda-meta`.
    Conda,
    /// A wheel, which has a `RECORD`.
    Pypi,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerReport {
    pub digest: String,
    /// The length of the blob in bytes.
    pub size: u64,
    /// The digest of the tar inside.
    pub diff_id: String,
    /// The length of the tar in bytes.
    pub tar_size: u64,
    /// The number of tar entries, not counting those that only carry long names.
    pub entries: usize,
}

/// One thing that is wrong or strange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    pub rule: Rule,
    /// The blob's digest, or the file of the layout.
    pub subject: String,
    /// The tar entry, where it is about one; control characters are escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What was expected and what was found.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Allowed, and usual in images of distributions.
    Notice,
    /// The layout says something untrue, breaks the specification, is dangerous to unpack, or has in a layer of ours what
    /// we never put there.
    Error,
}

/// The rules, by their names in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A digest is `sha256:` and 64 lower-case hex digits.
    DigestGrammar,
    /// What is named is there, as a regular file.
    MissingBlob,
    /// A blob is as long as its descriptor says.
    Size,
    /// A blob's SHA-256 is its name.
    Digest,
    /// A document is JSON of the form of its type, within 4 MiB, and all readers understand it in the same way.
    Document,
    /// Media types are OCI's, and a document's own is there and agrees with its descriptor's.
    MediaType,
    /// A platform is the one that the image configuration names, and is there once in an image index.
    Platform,
    /// The image configuration has a diff id for each layer.
    LayerCount,
    /// The history has one entry that is not empty for each layer.
    History,
    /// Runtime settings are such that a runtime may use them.
    Settings,
    /// A layer's descriptor does not send the reader elsewhere.
    ForeignLayer,
    /// A layer can be decompressed to its end, and is no bomb.
    Compression,
    /// The tar inside has the diff id that the image configuration says.
    DiffId,
    /// A layer is a well-formed tar, which all readers understand in the same way.
    Tar,
    /// A path is in a layer once (OCI image-spec, layer.md).
    DuplicateEntry,
    /// A path is relative and stays inside the image.
    EscapingPath,
    /// A hard link points to a file that is there before it; in a layer of ours, to one of the same layer.
    HardLink,
    /// No entry is written through a link, or below a file.
    ThroughLink,
    /// A directory does not take the place of a link in a lower layer.
    ReplacesLink,
    /// There are no devices, pipes or other special files.
    SpecialFile,
    /// No file is setuid or setgid.
    Setuid,
    /// Nothing of a lower layer is removed.
    Whiteout,
    /// Every path of a layer of ours is of a package, of the project, or generated.
    Unaccounted,
    /// What is accounted for is what its package's record, the project's list or the generating rule says.
    Changed,
    /// What records, list and rules name is there.
    Removed,
    /// Records and lists can be read, and agree with one another.
    Inventory,
    /// The packages are those of the lock file in the image.
    NotLocked,
    /// A document of an image of ours has no field that pixi-oci does not write.
    ForeignField,
    /// A blob of ours has no bytes outside its tar.
    HiddenBytes,
    /// A SIF's header and descriptors are right, and its objects are in it.
    Container,
    /// A SIF's file system can be read to the last block, and all of it is root's.
    FileSystem,
    /// A SIF has the tree of its OCI image, and what Apptainer needs.
    OtherTree,
    /// What nothing in the image can be compared with is said.
    NotCompared,
    /// The list of findings was cut.
    TooMany,
}

impl std::fmt::Display for Rule {
    /// The name that JSON has.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// A hostile layer breaks a rule millions of times, and that must not hide other findings.
const MAX_OF_ONE_RULE: usize = 20;
/// Enough to see what is wrong.
const MAX_FINDINGS: usize = 1000;

/// Findings as they come, bounded.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    of_one_rule: HashMap<(String, Rule, Severity), usize>,
    dropped: usize,
    dropped_error: bool,
}

impl Findings {
    pub fn error(&mut self, rule: Rule, subject: &str, detail: impl Into<String>) {
        self.add(Severity::Error, rule, subject, None, detail.into());
    }

    pub fn notice(&mut self, rule: Rule, subject: &str, detail: impl Into<String>) {
        self.add(Severity::Notice, rule, subject, None, detail.into());
    }

    /// A finding about one tar entry.
    pub fn entry(&mut self, severity: Severity, rule: Rule, layer: &str, path: &[u8], detail: impl Into<String>) {
        self.add(severity, rule, layer, Some(printable(path)), detail.into());
    }

    fn add(&mut self, severity: Severity, rule: Rule, subject: &str, path: Option<String>, detail: String) {
        self.push(Finding { severity, rule, subject: printable(subject.as_bytes()), path, detail });
    }

    fn push(&mut self, finding: Finding) {
        if self.list.len() < MAX_FINDINGS {
            let number = self.of_one_rule.entry((finding.subject.clone(), finding.rule, finding.severity)).or_default();
            *number += 1;
            if *number <= MAX_OF_ONE_RULE {
                return self.list.push(finding);
            }
        }
        self.dropped += 1;
        self.dropped_error |= finding.severity == Severity::Error;
    }

    pub fn has_errors(&self) -> bool {
        self.dropped_error || self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Takes over what another thread found.
    pub fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        self.dropped_error |= other.dropped_error;
        other.list.into_iter().for_each(|finding| self.push(finding));
    }

    pub fn into_vec(mut self) -> Vec<Finding> {
        if self.dropped > 0 {
            self.list.push(Finding {
                // A report must not become sound because its errors came last.
                severity: if self.dropped_error { Severity::Error } else { Severity::Notice },
                rule: Rule::TooMany,
                subject: "index.json".into(),
                path: None,
                detail: format!("{} further findings are not listed", self.dropped),
            });
        }
        self.list
    }
}

/// Text of others, made safe for a terminal and short.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const MAX: usize = 300;
    let mut out = escape(&String::from_utf8_lossy(&bytes[..bytes.len().min(MAX)]));
    if bytes.len() > MAX {
        out.push('…');
    }
    out
}
