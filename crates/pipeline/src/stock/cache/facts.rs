//! Facts of packages, by the sha256 of their archives.

use std::path::PathBuf;

use pixi_oci_cachedir::{Root, sharded, trim_below};
use pixi_oci_layer::Digest;
use pixi_oci_lock::Sha256;
use pixi_oci_package::Python;
use pixi_oci_platform::touch;
use pixi_oci_wheel::DirectUrl;
use serde::{Serialize, de::DeserializeOwned};

/// Raised when the form changes; what was written before is then read out of the archives again.
const VERSION: &str = "2";
/// More than a package of a million paths needs.
const MAX_BYTES: u64 = 256 << 20;
/// What [`FactsCache::trim`] leaves: the lists of some ten thousand packages.
const LIMIT: u64 = 1 << 30;

/// A cache of facts. Any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct FactsCache {
    root: Root,
    directory: PathBuf,
}

impl FactsCache {
    /// What was read from archives, in a directory which need not exist.
    pub fn open(root: &Root) -> Self {
        Self { root: root.clone(), directory: root.join("facts").join(VERSION) }
    }

    /// What published images said of archives that this machine has not findings. Whoever uses it trusts these images, as
    /// whoever takes layers from the layer cache does.
    pub fn open_published(root: &Root) -> Self {
        Self { root: root.clone(), directory: root.join("facts").join(format!("{VERSION}-published")) }
    }

    /// What is known of the package with this [key](crate::package::Package::facts_key).
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let path = sharded(&self.directory, key, ".json");
        let known = self.root.read(&path, MAX_BYTES)?;
        // Its time is that of its last use, which decides how long it stays. A cache of somebody else cannot be told.
        let _ = touch(&path);
        Some(known)
    }

    /// Removes what was not used for longest until the rest is small.
    pub fn trim(&self) {
        let _ = trim_below(&self.directory, LIMIT);
    }

    /// Keeps what is known of a package, if that is possible.
    pub fn put(&self, key: &str, known: &impl Serialize) {
        // A cache that cannot be written only costs time.
        let _ = self.root.write(&sharded(&self.directory, key, ".json"), known);
    }
}

/// What the facts of a wheel are known by: the archive, the interpreter, and whether it has a `direct_url.json`.
pub fn wheel_key(archive: &Sha256, python: &Python, direct_url: Option<&DirectUrl>) -> String {
    let text = serde_json::to_vec(&(archive.to_string(), python, direct_url.is_some())).unwrap_or_default();
    Digest::of(&text).hex()
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::TreePath;
    use pixi_oci_package::{CompleteFacts, WheelFacts};

    use super::{super::KnownArchive, *};

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::open(&Root::new(directory.path()));
        let key = "07".repeat(32);
        assert_eq!(cache.get::<KnownArchive<CompleteFacts>>(&key), None);
        let facts: CompleteFacts = serde_json::from_str(r#"{"fileName":"a-1-0.conda","files":["bin/a"]}"#).unwrap();
        let known = KnownArchive { size: 10, facts };
        cache.put(&key, &known);
        assert_eq!(cache.get(&key), Some(known));
        std::fs::write(
            sharded(&cache.directory, &key, ".json"),
            r#"{"size":10,"facts":{"fileName":"a","files":["../a"]}}"#,
        )
        .unwrap();
        assert_eq!(cache.get::<KnownArchive<CompleteFacts>>(&key), None);
    }

    #[test]
    fn a_wheel_has_other_paths_for_another_python() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::open(&Root::new(directory.path()));
        let path = |text: &str| TreePath::new(text).unwrap();
        let key = |minor: u64| {
            let python = Python {
                version: (3, minor),
                executable: path(&format!("bin/python3.{minor}")),
                site_packages: path(&format!("lib/python3.{minor}/site-packages")),
            };
            wheel_key(&Sha256::from_bytes([7; 32]), &python, None)
        };
        let facts: WheelFacts =
            serde_json::from_str(r#"{"file_name":"a.whl","paths":[{"path":"lib/a","is_directory":false}]}"#).unwrap();
        let known = KnownArchive { size: 10, facts };
        cache.put(&key(12), &known);
        assert_eq!(cache.get(&key(12)), Some(known));
        assert_eq!(cache.get::<KnownArchive<WheelFacts>>(&key(13)), None);
    }
}
