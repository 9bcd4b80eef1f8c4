//! An image of a registry as an OCI layout: every byte as it is there, for those who look at it.

use std::collections::HashSet;

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::Digest;
use pixi_oci_registry as registry;
use pixi_oci_registry::{Events, Registry, RegistryAccess, RepositoryRef, document::References};

use crate::{BlobSource, Destination, Error, OciLayout};

#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("cannot get {what} from the registry")]
    Registry { what: String, source: Box<registry::Error> },
    #[error(transparent)]
    Data(#[from] Error),
    #[error("{reference} leads to more than {MAX_MANIFESTS} manifests")]
    TooMany { reference: String },
}

/// Real indexes name some ten.
const MAX_MANIFESTS: usize = 1000;

/// Fetches an image index with all its images, or one image, into a layout where it is the one without a name; gives its
/// digest. `events` is told what happens.
pub async fn pull(
    reference: &RepositoryRef,
    access: &RegistryAccess,
    layout: &OciLayout,
    events: Events,
) -> Result<Digest, PullError> {
    let failed = |what: String| move |source| PullError::Registry { what, source: Box::new(source) };
    let repository = &reference.repository;
    let registry = Registry::for_reading(repository, access, events.clone()).await;
    let registry = registry.map_err(failed(format!("access to {}", repository.host())))?;
    let (root, bytes) = registry.manifest(&reference.reference()).await.map_err(failed(reference.to_string()))?;
    let digest = root.digest;
    // In the order of their discovery: what names something comes before it.
    let mut documents = vec![(root, bytes)];
    let mut seen = HashSet::from([digest]);
    let (mut next, mut blobs) = (0, Vec::new());
    while let Some((descriptor, bytes)) = documents.get(next) {
        next += 1;
        let named: Vec<Descriptor> =
            References::parse(descriptor, bytes).map_err(Error::from)?.all().cloned().collect();
        for named in named.into_iter().filter(|named| seen.insert(named.digest)) {
            if documents.len() > MAX_MANIFESTS {
                return Err(PullError::TooMany { reference: reference.to_string() });
            }
            if matches!(named.media_type, MediaType::ImageManifest | MediaType::ImageIndex) {
                let what = format!("{} of {repository}", named.digest);
                let found = registry.manifest(&named.digest.to_string()).await.map_err(failed(what))?;
                documents.push((named, found.1));
            } else if !layout.has_blob(&named)? {
                blobs.push(named);
            }
        }
    }
    let bytes = blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(blob.size));
    events(registry::Event::Receiving { blobs: blobs.len(), bytes });
    for blob in blobs {
        let mut staged = layout.staging()?;
        let what = format!("{} of {repository}", blob.digest);
        registry.fetch_blob(&blob, staged.as_file_mut()).await.map_err(failed(what))?;
        layout.adopt(staged, &blob.digest, blob.size)?;
    }
    // From the last to the first, so that nothing names what is not there.
    for (descriptor, bytes) in documents.iter().skip(1).rev() {
        layout.put_blob(descriptor, BlobSource::Bytes(bytes))?;
    }
    if let Some((root, bytes)) = documents.first() {
        layout.put_root(root, bytes, None)?;
    }
    Ok(digest)
}
