//! Facts of packages, by the sha256 of their archives.

use std::path::PathBuf;

use pixi_oci_cachedir::{Root, trim_below};
use pixi_oci_formats::layer_table::KnownArchive;
use pixi_oci_layer::Digest;
use pixi_oci_lock::Sha256;
use pixi_oci_package::{CompleteFacts, Python, WheelFacts};
use pixi_oci_platform::touch;
use pixi_oci_wheel::DirectUrl;
use serde::{Serialize, de::DeserializeOwned};

use super::path_of;

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

    /// What is known of a conda package.
    pub fn conda(&self, archive: &Sha256) -> Option<KnownArchive<CompleteFacts>> {
        self.get(&conda_key(archive))
    }

    /// Keeps what is known of a conda package, if that is possible.
    pub fn put_conda(&self, archive: &Sha256, known: &KnownArchive<CompleteFacts>) {
        self.put(&conda_key(archive), known);
    }

    /// What is known of a wheel, whose paths depend on the interpreter and on whether it has a `direct_url.json`.
    pub fn wheel(
        &self,
        archive: &Sha256,
        python: &Python,
        direct_url: Option<&DirectUrl>,
    ) -> Option<KnownArchive<WheelFacts>> {
        self.get(&wheel_key(archive, python, direct_url))
    }

    /// Keeps what is known of a wheel, if that is possible.
    pub fn put_wheel(
        &self,
        archive: &Sha256,
        python: &Python,
        direct_url: Option<&DirectUrl>,
        known: &KnownArchive<WheelFacts>,
    ) {
        self.put(&wheel_key(archive, python, direct_url), known);
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let path = path_of(&self.directory, key);
        let known = self.root.read(&path, MAX_BYTES)?;
        // Its time is that of its last use, which decides how long it stays. A cache of somebody else cannot be told.
        let _ = touch(&path);
        Some(known)
    }

    /// Removes what was not used for longest until the rest is small.
    pub fn trim(&self) {
        let _ = trim_below(&self.directory, LIMIT);
    }

    fn put(&self, key: &str, known: &impl Serialize) {
        // A cache that cannot be written only costs time.
        let _ = self.root.write(&path_of(&self.directory, key), known);
    }
}

fn conda_key(archive: &Sha256) -> String {
    archive.to_string()
}

/// What the facts of a wheel are known by: the archive, the interpreter, and whether it has a `direct_url.json`.
pub fn wheel_key(archive: &Sha256, python: &Python, direct_url: Option<&DirectUrl>) -> String {
    let text = serde_json::to_vec(&(archive.to_string(), python, direct_url.is_some())).unwrap_or_default();
    Digest::of(&text).hex()
}

#[cfg(test)]
mod tests {
    use pixi_oci_layer::TreePath;

    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::open(&Root::new(directory.path()));
        let archive = Sha256::from_bytes([7; 32]);
        assert_eq!(cache.conda(&archive), None);
        let facts = serde_json::from_str(r#"{"fileName":"a-1-0.conda","files":["bin/a"]}"#).unwrap();
        let known = KnownArchive { size: 10, facts };
        cache.put_conda(&archive, &known);
        assert_eq!(cache.conda(&archive), Some(known));
        let path = path_of(&cache.directory, &archive.to_string());
        std::fs::write(path, r#"{"size":10,"facts":{"fileName":"a","files":["../a"]}}"#).unwrap();
        assert_eq!(cache.conda(&archive), None);
    }

    #[test]
    fn a_wheel_has_other_paths_for_another_python() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::open(&Root::new(directory.path()));
        let archive = Sha256::from_bytes([7; 32]);
        let path = |text: &str| TreePath::new(text).unwrap();
        let python = |minor: u64| Python {
            version: (3, minor),
            executable: path(&format!("bin/python3.{minor}")),
            site_packages: path(&format!("lib/python3.{minor}/site-packages")),
        };
        let facts: WheelFacts =
            serde_json::from_str(r#"{"file_name":"a.whl","paths":[{"path":"lib/a","is_directory":false}]}"#).unwrap();
        let known = KnownArchive { size: 10, facts };
        cache.put_wheel(&archive, &python(12), None, &known);
        assert_eq!(cache.wheel(&archive, &python(12), None), Some(known));
        assert_eq!(cache.wheel(&archive, &python(13), None), None);
    }
}
