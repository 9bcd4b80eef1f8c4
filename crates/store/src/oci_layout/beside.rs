//! The layout that another one will be moved to.
//!
//! A build makes everything in a layout of its own. What it takes from the cache is mostly in the destination, too: then it need not be
//! linked and moved over itself, which would take longer than everything else of a build without changes.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;

/// Where its blobs are, and those of them that count as blobs of the layout beside it.
#[derive(Debug)]
pub(super) struct Beside {
    blobs: PathBuf,
    taken: Mutex<BTreeSet<Digest>>,
}

impl Beside {
    pub fn new(blobs: PathBuf) -> Self {
        Self { blobs, taken: Mutex::default() }
    }

    /// Takes the blob, if `file` is the very same file as it, and not only one like it: what is known of the one is known of the other.
    pub fn take(&self, file: &Path, blob: &Descriptor) -> bool {
        let identity = |path: &Path| {
            let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
            (metadata.len() == blob.size).then(|| (metadata.dev(), metadata.ino()))
        };
        let is_same = identity(file).is_some_and(|own| identity(&self.path_of(&blob.digest)) == Some(own));
        if is_same {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest);
        }
        is_same
    }

    /// Where a blob is that was taken.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.contains(digest).then(|| self.path_of(digest))
    }

    fn path_of(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }
}
