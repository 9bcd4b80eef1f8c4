//! An OCI layout in one tar file, the transport `oci-archive:`.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use pixi_oci_image::Descriptor;

use crate::{
    BlobSource, Destination, Error, archive,
    archive::{ArchiveEntry, Collection},
    layout_index::LayoutIndex,
    oci_layout::LAYOUT_MARKER,
    target::check_layout_name,
};

/// The archive of one build. The file is written, or replaced, when a root is put; its bytes are a function of what was
/// put, in whatever order.
#[derive(Debug)]
pub struct OciArchive {
    path: PathBuf,
    blobs: Collection,
    index: Mutex<LayoutIndex>,
}

impl OciArchive {
    /// An archive that will be written to `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), blobs: Collection::default(), index: Mutex::new(LayoutIndex::new()) }
    }
}

impl Destination for OciArchive {
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.blobs.has(blob))
    }

    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        self.blobs.put(blob, source)
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.blobs.put_document(manifest, bytes, &self.path).map(drop)
    }

    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error> {
        name.map_or(Ok(()), check_layout_name)?;
        self.put_manifest(root, bytes)?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.set_root(root, name);
        let mut entries = self.blobs.entries(|blob| Some(format!("blobs/sha256/{}", blob.digest.hex())));
        entries.push(ArchiveEntry::directory("blobs/"));
        entries.push(ArchiveEntry::directory("blobs/sha256/"));
        entries.push(ArchiveEntry::bytes("index.json", index.to_bytes()));
        entries.push(ArchiveEntry::bytes("oci-layout", LAYOUT_MARKER.to_vec()));
        archive::write(&self.path, entries)
    }
}
