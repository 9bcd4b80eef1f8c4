//! Blobs that were just sent: whether the registry has them, and has what was sent.
//!
//! A registry that confirms an upload and stores something else would be found out by whoever pulls, after the tags have
//! moved. Small blobs are read instead of being asked for, which costs no request more; every image has some: its
//! configuration, and the layers of the environment and the application.

use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;

use crate::{
    client::Registry,
    error::{Error, ErrorKind},
    retry::{Attempts, Failure},
};

/// Larger ones would double what a push moves; of these the registry is asked whether it has them.
const MAX_READ: u64 = 1 << 20;

impl Registry {
    /// Whether the repository has a blob that it has just confirmed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) when it has something else in its place.
    pub(super) async fn is_stored(&self, blob: &Descriptor) -> Result<bool, Error> {
        if blob.size > MAX_READ {
            return self.has_blob(blob).await;
        }
        let what = format!("blob {} of {}", blob.digest, self.repository);
        let attempt = async || {
            let mut bytes = Vec::new();
            match self.fetch_once(blob, &mut bytes, &what, |_| ()).await {
                Ok(()) if bytes.len() as u64 == blob.size => match Digest::of(&bytes) {
                    found if found == blob.digest => Ok(true),
                    found => {
                        let found = format!("the registry confirmed it and sends {found}");
                        Err(Error::mismatch(&what, blob.digest, found).into())
                    }
                },
                // The connection broke, or there is less: then it says so.
                Ok(()) => match self.has_blob(blob).await? {
                    true => Err(Failure::transient(format!("it ends after {} bytes", bytes.len()))),
                    false => Ok(false),
                },
                Err(Failure::Final(error)) if error.kind() == ErrorKind::NotFound => Ok(false),
                // Who may send and not read: what it says has to do.
                Err(Failure::Final(error)) if error.kind() != ErrorKind::DigestMismatch => {
                    Ok(self.has_blob(blob).await?)
                }
                Err(failure) => Err(failure),
            }
        };
        self.client.retry(Attempts::default(), &what, attempt).await
    }
}
