//! Where a package's own list of its files is wrong, and what is right.
//!
//! Installers do not compare: the archive's hash in the lock file is what is trusted. The user is told once a package, and
//! what says what is in an image says the true digests.

use std::{collections::BTreeMap, fmt};

use pixi_oci_layer::{Digest, TreePath};
use serde::{Deserialize, Serialize};

/// What is wrong with a package's own list, and the digests that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Corrections {
    /// What is wrong, in words; empty if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub what: String,
    /// The sha256 of files that the list, as it is installed, does not say; by their path below the prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<TreePath, Digest>,
}

impl Corrections {
    /// Whether the list was right.
    pub fn is_empty(&self) -> bool {
        self.what.is_empty() && self.files.is_empty()
    }
}

/// The faults of a list: of each kind the first path, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    list: &'static str,
    kinds: BTreeMap<&'static str, (String, usize)>,
}

impl Faults {
    /// None so far in the list of that name.
    pub fn new(list: &'static str) -> Self {
        Self { list, kinds: BTreeMap::new() }
    }

    /// `kind` begins what is said about the path: `has a wrong hash of`.
    pub fn add(&mut self, kind: &'static str, path: &str) {
        self.kinds.entry(kind).or_insert_with(|| (path.into(), 0)).1 += 1;
    }

    /// Together with the digests that the list does not say.
    pub fn corrections(&self, files: BTreeMap<TreePath, Digest>) -> Corrections {
        Corrections { what: self.to_string(), files }
    }
}

/// `RECORD does not list "a.so" and 2 more; it has …`
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (kind, (path, count))) in self.kinds.iter().enumerate() {
            let subject = if number == 0 { self.list } else { "; it" };
            write!(f, "{subject} {kind} {path:?}")?;
            if *count > 1 {
                write!(f, " and {} more", count - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_once_a_kind() {
        let mut faults = Faults::new("RECORD");
        assert!(faults.corrections(BTreeMap::new()).is_empty());
        for (kind, path) in [("lists twice", "c"), ("does not list", "a\n"), ("does not list", "b")] {
            faults.add(kind, path);
        }
        let told = faults.corrections(BTreeMap::new());
        assert_eq!(told.what, r#"RECORD does not list "a\n" and 1 more; it lists twice "c""#);
        let files = BTreeMap::from([(TreePath::new("a").unwrap(), Digest::of(b""))]);
        assert!(!told.is_empty() && !Faults::new("RECORD").corrections(files).is_empty());
    }
}
