//! What rattler's installer writes: the oracle of the differential tests.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rattler::{
    install::{Installer, LinkOptions},
    package_cache::PackageCache,
};
use rattler_conda_types::{RepoDataRecord, Subdir};
use serde_json::Value;
use tempfile::TempDir;

/// Paths below a prefix, and what is there.
pub type Prefix = BTreeMap<String, Seen>;

#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Directory,
    Link {
        target: String,
    },
    /// A package's record in `conda-meta`, whose time is the installation's.
    Record {
        what: Value,
    },
    File {
        content: Content,
        executable: bool,
        mtime: Option<i64>,
    },
}

/// The bytes of a file; short texts are shown where they differ.
#[derive(PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.len() < 2000 => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes, {:?}…", self.0.len(), String::from_utf8_lossy(&self.0[..self.0.len().min(60)])),
        }
    }
}

/// A file at this path.
pub fn file(path: &str, bytes: Vec<u8>, executable: bool, mtime: Option<i64>) -> Seen {
    if path.starts_with("conda-meta/") && path.ends_with(".json") {
        return Seen::Record { what: normalised(&bytes) };
    }
    Seen::File { content: Content(bytes), executable, mtime }
}

/// A record without what differs for a reason: paths of the machine, and what was asked for; lists sorted.
fn normalised(record: &[u8]) -> Value {
    let mut record: Value = serde_json::from_slice(record).unwrap();
    let object = record.as_object_mut().unwrap();
    for key in
        ["link", "extracted_package_dir", "package_tarball_full_path", "md5", "requested_spec", "requested_specs"]
    {
        object.remove(key);
    }
    for list in ["/files", "/paths_data/paths"] {
        record.pointer_mut(list).unwrap().as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    record
}

/// Installs packages into an empty directory, for this target prefix and platform and without hard or reference links to
/// rattler's cache. What is there then, without what is not of a package.
pub async fn install(packages: Vec<RepoDataRecord>, subdir: Subdir, target_prefix: &str) -> Result<Prefix, String> {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("prefix");
    Installer::new()
        .with_package_cache(PackageCache::new(directory.path().join("cache")))
        .with_target_platform(subdir)
        .with_alternative_target_prefix(target_prefix)
        .with_link_options(LinkOptions {
            allow_symbolic_links: Some(true),
            allow_hard_links: Some(false),
            allow_ref_links: Some(false),
        })
        .install(&root, packages)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let mut seen = Prefix::new();
    visit(&root, &root, &mut seen);
    seen.remove("conda-meta/history").expect("rattler writes it");
    seen.remove("CACHEDIR.TAG").expect("rattler writes it");
    Ok(seen)
}

fn visit(root: &Path, directory: &Path, seen: &mut Prefix) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let meta = fs::symlink_metadata(&path).unwrap();
        let found = if meta.is_dir() {
            visit(root, &path, seen);
            Seen::Directory
        } else if meta.is_symlink() {
            Seen::Link { target: fs::read_link(&path).unwrap().to_str().unwrap().into() }
        } else {
            let executable = meta.permissions().mode() & 0o111 != 0;
            file(&name, fs::read(&path).unwrap(), executable, Some(meta.mtime()))
        };
        seen.insert(name, found);
    }
}

/// Compares two prefixes path by path, `what` and the path are said where they differ; how many paths there are.
pub fn compare(mut ours: Prefix, mut theirs: Prefix, what: &str) -> usize {
    // Directories of losers that won in the end are left behind, or not, as the packages happened to be linked.
    for side in [&mut ours, &mut theirs] {
        side.retain(|path, seen| *seen != Seen::Directory || !path.starts_with("__clobbers__"));
    }
    let paths: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for path in &paths {
        assert_eq!(ours.get(*path), theirs.get(*path), "{what} {path}: ours, theirs");
    }
    paths.len()
}
