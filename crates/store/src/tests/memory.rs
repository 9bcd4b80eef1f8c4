//! The simplest destination: what the trait means, with nothing else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::document::References;

use crate::{
    BlobSource, Destination, Error,
    destination::{check_bytes, copy_checked, open_source},
};

/// Blobs by digest and roots by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(crate) roots: BTreeMap<Option<String>, Digest>,
}

impl Destination for Memory {
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let state = self.state.lock().unwrap();
        Ok(state.blobs.get(&blob.digest).is_some_and(|bytes| bytes.len() as u64 == blob.size))
    }

    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        match source {
            BlobSource::Bytes(given) => {
                check_bytes(blob, given)?;
                bytes.extend(given);
            }
            BlobSource::File(path) => copy_checked(blob, &mut open_source(path)?, path, &mut bytes, path)?,
        }
        self.state.lock().unwrap().blobs.insert(blob.digest, bytes);
        Ok(())
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        for blob in References::parse(manifest, bytes)?.all() {
            if !self.has_blob(blob)? {
                return Err(Error::MissingBlob {
                    manifest: manifest.digest,
                    blob: blob.digest,
                    size: blob.size,
                    destination: "memory".into(),
                });
            }
        }
        self.put_blob(manifest, BlobSource::Bytes(bytes))
    }

    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error> {
        self.put_manifest(root, bytes)?;
        self.state.lock().unwrap().roots.insert(name.map(str::to_owned), root.digest);
        Ok(())
    }
}
