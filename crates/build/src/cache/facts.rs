//! Facts of packages, by the sha256 of their archives.

use std::path::{Path, PathBuf};

use pixi_oci_package::CompleteFacts;
use pixi_oci_resolve::Sha256;
use serde::{Deserialize, Serialize};

use super::file;

/// Raised when the form changes; what was written before is then read out of the archives again.
const VERSION: &str = "1";
/// More than a package of a million paths needs.
const MAX_BYTES: u64 = 256 << 20;

/// A cache of facts. Any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct FactsCache {
    directory: PathBuf,
}

/// What is known of an archive that need not be here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownArchive {
    /// The archive's length in bytes.
    pub size: u64,
    /// What is in it.
    pub facts: CompleteFacts,
}

impl FactsCache {
    /// The cache in a directory, which need not exist.
    pub fn open(directory: &Path) -> Self {
        Self { directory: directory.join("facts").join(VERSION) }
    }

    /// What is known of the archive.
    pub fn get(&self, archive: &Sha256) -> Option<KnownArchive> {
        file::read(&self.path(archive), MAX_BYTES)
    }

    /// Keeps what is known of the archive, if that is possible.
    pub fn put(&self, archive: &Sha256, known: &KnownArchive) {
        // A cache that cannot be written only costs time.
        let _ = file::write(&self.path(archive), known);
    }

    fn path(&self, archive: &Sha256) -> PathBuf {
        file::path_of(&self.directory, &archive.to_string(), ".json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::open(directory.path());
        let archive = Sha256::from_bytes([7; 32]);
        assert_eq!(cache.get(&archive), None);
        let facts = serde_json::from_str(r#"{"fileName":"a-1-0.conda","files":["bin/a"]}"#).unwrap();
        let known = KnownArchive { size: 10, facts };
        cache.put(&archive, &known);
        assert_eq!(cache.get(&archive), Some(known));
        std::fs::write(cache.path(&archive), r#"{"size":10,"facts":{"fileName":"a","files":["../a"]}}"#).unwrap();
        assert_eq!(cache.get(&archive), None);
    }
}
