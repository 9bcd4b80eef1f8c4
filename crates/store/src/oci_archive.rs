//! An OCI layout in one tar file, the transport `oci-archive:`.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::{
    Destination,
    archive::{self, ArchiveEntry, Collecting},
    image_name::check_layout_name,
    layout_index::LayoutIndex,
    oci_layout::LAYOUT_MARKER,
};

/// The archive of one build, to be written to `path`. Its bytes are a function of what was put, in whatever order.
pub(crate) fn oci_archive(path: PathBuf) -> impl Destination {
    let index = Mutex::new(LayoutIndex::new());
    Collecting::new(path, move |blobs, root, bytes, name| {
        name.map_or(Ok(()), check_layout_name)?;
        blobs.put_document(root, bytes)?;
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        index.set_root(root, name);
        let mut entries = blobs.entries(|blob| Some(format!("blobs/sha256/{}", blob.digest.hex())));
        entries.push(ArchiveEntry::directory("blobs/"));
        entries.push(ArchiveEntry::directory("blobs/sha256/"));
        entries.push(ArchiveEntry::bytes("index.json", index.to_bytes()));
        entries.push(ArchiveEntry::bytes("oci-layout", LAYOUT_MARKER.to_vec()));
        archive::write(&blobs.path, entries)
    })
}
