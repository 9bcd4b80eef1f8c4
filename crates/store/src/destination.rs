//! Where an image can be put, and the order in which that happens.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use pixi_oci_image::{Descriptor, Index};
use pixi_oci_layer::{Digest, DigestWriter};
use pixi_oci_platform::{Links, open};
use pixi_oci_registry::BlobSource;

use crate::Error;

/// Something that holds blobs, manifests and names.
///
/// Calls block and may come from several threads at once. Whatever fails, and whenever the process is killed, what was
/// visible before stays as it was: only [`put_root`](Destination::put_root) makes something visible.
pub trait Destination: Send + Sync {
    /// Whether the blob is there already, with its right size.
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error>;

    /// Stores a layer or an image configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] when the bytes are not the blob's. An archive reads them once, when it is written, and then
    /// it is [`put_root`](Destination::put_root) that says so.
    /// The bytes are compared with the descriptor: by an archive when it is written,
    /// in [`put_root`](Destination::put_root).
    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error>;

    /// Stores a manifest or index under its digest. What it names has to be there before.
    ///
    /// # Errors
    ///
    /// [`Error::MissingBlob`], [`Error::Content`].
    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error>;

    /// Stores a manifest or index and makes it visible, under `name` or as the one without a name. What had this name
    /// before is replaced; everything else stays.
    ///
    /// # Errors
    ///
    /// As [`put_manifest`](Destination::put_manifest), and [`Error::Name`].
    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error>;
}

/// Puts an image index and all it names at a destination: layers, configurations, image manifests, and the index last,
/// so that nothing incomplete is ever visible.
///
/// `blobs` says where the layers are. One that the destination has already needs no file.
pub fn publish(
    index: &Index,
    blobs: &BTreeMap<Digest, PathBuf>,
    destination: &dyn Destination,
    name: Option<&str>,
) -> Result<(), Error> {
    for layer in index.images.iter().flat_map(|image| &image.layers) {
        let blob = &layer.descriptor;
        if !destination.has_blob(blob)? {
            let file = blobs.get(&blob.digest).ok_or(Error::NoSource { digest: blob.digest })?;
            destination.put_blob(blob, BlobSource::File(file))?;
        }
    }
    for image in &index.images {
        if !destination.has_blob(&image.config)? {
            destination.put_blob(&image.config, BlobSource::Bytes(&image.config_bytes))?;
        }
        destination.put_manifest(&image.manifest, &image.manifest_bytes)?;
    }
    destination.put_root(&index.descriptor, &index.bytes, name)
}

/// Copies `source` to `sink` and checks on the way that it is `blob`. `from` and `to` are for the errors only.
pub(crate) fn copy_checked(
    blob: &Descriptor,
    source: &mut dyn Read,
    from: &Path,
    sink: &mut dyn Write,
    to: &Path,
) -> Result<(), Error> {
    let mut sink = DigestWriter::new(sink);
    // One byte more than it should have tells that it is too long without reading all of it.
    let mut source = source.take(blob.size.saturating_add(1));
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", from)(error)),
        };
        sink.write_all(&buffer[..n]).map_err(Error::io("write", to))?;
    }
    let (digest, size, _) = sink.finish();
    check(blob, || from.display().to_string(), digest, size)
}

pub(crate) fn check_bytes(descriptor: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
    check(descriptor, || "a document".to_owned(), Digest::of(bytes), bytes.len() as u64)
}

/// Checks that something of this digest and size is what `expected` names. `what` is for the error only.
pub(crate) fn check(
    expected: &Descriptor,
    what: impl FnOnce() -> String,
    digest: Digest,
    size: u64,
) -> Result<(), Error> {
    let found = if size > expected.size {
        "it is longer".to_owned()
    } else if size < expected.size {
        format!("it has {size} bytes")
    } else if digest != expected.digest {
        format!("it is {digest}")
    } else {
        return Ok(());
    };
    Err(Error::Content { what: what(), expected: expected.digest, expected_size: expected.size, found })
}

/// Checks the length of a file that is to be the blob `digest` of this `size`.
pub(crate) fn check_length(file: &Path, found: u64, digest: Digest, size: u64) -> Result<(), Error> {
    if found == size {
        return Ok(());
    }
    let (what, found) = (file.display().to_string(), format!("it has {found} bytes"));
    Err(Error::Content { what, expected: digest, expected_size: size, found })
}

/// Opens a blob's file, which has to be a regular one: a FIFO would block for ever.
pub(crate) fn open_source(path: &Path) -> Result<File, Error> {
    open(path, Links::Follow).map_err(Error::io("read", path))
}
