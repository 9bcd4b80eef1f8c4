//! What is accepted of images that others made: one table.
//!
//! A hostile image of 10 MB takes at most 500 MiB of memory and 30 s; a base of a million files still works.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// A manifest, index or configuration: the size that registries accept (OCI distribution-spec, "Pushing Manifests").
pub const DOCUMENT: u64 = 4 << 20;
/// All documents of a layout together.
pub const DOCUMENTS: u64 = 64 << 20;
/// Documents that lead to one another: manifests and indexes of a layout.
pub const MANIFESTS: usize = 1000;
/// Indexes in indexes. Registries and tools stop at one or two.
pub const INDEX_DEPTH: usize = 4;
/// Layers of an image. Runtimes stop at 127 or so (the kernel's overlay mounts).
pub const LAYERS: usize = 1000;
/// Images of an index from which layers are reused.
pub const IMAGES: usize = 16;
/// Shares of layers that are kept under one tag.
pub const SHARES: usize = 256;
/// `layers.json` in a published image.
pub const TABLE: u64 = 16 << 20;
/// The blob of the layer that has it.
pub const TABLE_LAYER: u64 = 256 << 20;
/// A lock file, record or list in an image.
pub const FILE: u64 = 256 << 20;
/// Files in an archive of images.
pub const ARCHIVE_FILES: usize = 100_000;

/// A path or link target: `PATH_MAX`.
pub const PATH: usize = 4096;
/// A component of a path or link target: `NAME_MAX`.
pub const NAME: usize = 255;
/// Components of a path or link target.
pub const PATH_DEPTH: usize = 256;
/// Extension records of one tar entry. Linux limits extended attributes to 64 KiB each.
pub const RECORDS: u64 = 1 << 20;
/// Links that are followed for one path, as many as Linux follows (path_resolution(7)).
pub const LINKS: usize = 40;

/// Unpacked bytes for each packed one. gzip cannot exceed 1032, so this concerns zstd only.
pub const RATIO: u64 = 1100;
/// What all layers of an image may unpack to beyond that, together.
pub const UNPACKED: u64 = 256 << 20;
/// Memory for the entries of all layers of a base image: those of 700,000 files.
pub const BASE_ENTRIES: u64 = 128 << 20;
/// Memory for the entries of all layers of a layout that is verified, and for the records and lists in them.
pub const VERIFY_ENTRIES: u64 = 416 << 20;
/// Memory for the tree that they make.
pub const TREE: usize = 192 << 20;
/// Path components that are looked up for one path, those of the links on its way included.
pub const WALK: u64 = 4096;
/// Path components that are looked up while layers are put on top of one another.
pub const STEPS: u64 = 60_000_000;

/// Descriptors of a SIF: more than any tool makes room for.
pub const SIF_DESCRIPTORS: u64 = 1024;
/// The definition file of a SIF.
pub const SIF_DEFFILE: u64 = 1 << 20;
/// The inodes of a squashfs, and its directories, in memory.
pub const SQUASHFS_TABLE: usize = 192 << 20;
/// All names and targets of a squashfs.
pub const SQUASHFS_NAMES: usize = 128 << 20;

/// What all layers of one image may take together. Shared by the threads that read them.
#[derive(Debug)]
pub struct Budget {
    entries: u64,
    entries_left: AtomicU64,
    unpacked: AtomicU64,
}

impl Default for Budget {
    /// That of a base image.
    fn default() -> Self {
        Self::new(BASE_ENTRIES)
    }
}

impl Budget {
    pub fn new(entries: u64) -> Self {
        Self { entries, entries_left: entries.into(), unpacked: UNPACKED.into() }
    }

    /// # Errors
    ///
    /// There is none left.
    pub fn entries(&self, bytes: u64) -> io::Result<()> {
        take(&self.entries_left, bytes).map(drop).ok_or_else(|| {
            bad(format!("the entries of the image's layers take more than {} bytes of memory", self.entries))
        })
    }

    /// Takes bytes beyond [`RATIO`]; `false` if [`UNPACKED`] is exceeded.
    pub(crate) fn unpacked(&self, bytes: u64) -> bool {
        take(&self.unpacked, bytes).is_some()
    }
}

fn take(budget: &AtomicU64, cost: u64) -> Option<u64> {
    budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).ok()
}

pub(crate) fn bad(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
