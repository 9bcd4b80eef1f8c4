//! Images that only skopeo can read: archives, and the storage of podman and docker.
//!
//! A skopeo whose image proxy is new enough gives what it is asked for, so that a layer that is here already is not read again. An older
//! one copies the image to a directory first. The bytes are the same, and so is what is made of them.

mod program;
// The proxy's sockets keep the bounds of messages, as only those of Linux do.
#[cfg(target_os = "linux")]
mod proxy;
#[cfg(not(target_os = "linux"))]
#[path = "skopeo/no_proxy.rs"]
mod proxy;

use std::time::Duration;

use oci_read::document::{Descriptor as Entry, Document, Manifest};
use pixi_oci_image::{Architecture, Descriptor};
use pixi_oci_layer::Digest;
use tempfile::NamedTempFile;

use self::{program::Skopeo, proxy::Proxy};
use super::{BaseOptions, Problem, document, document::checked, local::Local, store::Store};

pub(crate) struct SkopeoImage {
    manifest: (Digest, Vec<u8>),
    /// Its layers as they are stored, if that is not as the manifest has them: `containers-storage:` unpacks them.
    stored: Option<Vec<Entry>>,
    blobs: Through,
}

enum Through {
    Proxy(Box<Proxy>),
    Copied(Local),
}

impl SkopeoImage {
    /// Opens an image such as `containers-storage:localhost/image`.
    pub(crate) async fn open(
        reference: &str,
        architecture: Architecture,
        options: &BaseOptions<'_>,
        store: &Store,
    ) -> Result<Self, Problem> {
        let skopeo = Skopeo { program: options.skopeo, reference, architecture };
        let patience = options.registries.options.progress_timeout;
        let proxied = match Proxy::open(&skopeo, patience, options.events).await? {
            Some(proxy) => Self::proxied(&skopeo, proxy, patience, store).await?,
            None => None,
        };
        match proxied {
            Some(image) => Ok(image),
            None => Self::copied(&skopeo, patience, store).await,
        }
    }

    /// `None` if its manifest cannot be had in this way.
    async fn proxied(
        skopeo: &Skopeo<'_>,
        proxy: Proxy,
        patience: Duration,
        store: &Store,
    ) -> Result<Option<Self>, Problem> {
        let (digest, bytes) = proxy.manifest().await?;
        let manifest = if Digest::of(&bytes) == digest {
            bytes
        } else {
            // The proxy gives Docker's manifests in OCI's form. It is read as it is, once; an index has it inside, somewhere.
            match store.document(&digest) {
                Some(manifest) => manifest,
                None => skopeo.manifest(patience).await?,
            }
        };
        if Digest::of(&manifest) != digest {
            proxy.close().await;
            return Ok(None);
        }
        store.put_document(&digest, &manifest);
        let stored = proxy.layers().await?;
        Ok(Some(Self { manifest: (digest, manifest), stored: Some(stored), blobs: Through::Proxy(Box::new(proxy)) }))
    }

    async fn copied(skopeo: &Skopeo<'_>, patience: Duration, store: &Store) -> Result<Self, Problem> {
        let local = skopeo.copy(store).await?;
        let [root] = &local.roots()[..] else { unreachable!("a directory that skopeo makes has one image") };
        let (digest, bytes) = (checked(root)?.digest, local.document(root)?);
        let mut image = Self { manifest: (digest, bytes), stored: None, blobs: Through::Copied(local) };
        // What skopeo copies from there has a manifest of its own, which names the layers unpacked.
        if skopeo.reference.starts_with("containers-storage:") {
            let own = skopeo.manifest(patience).await?;
            let (copied, stands) = (manifest(&image.manifest.1)?, manifest(&own)?);
            if let (Some(copied), Some(stands)) = (copied, stands)
                && (copied.config.digest == stands.config.digest && copied.layers.len() == stands.layers.len())
            {
                image.manifest = (Digest::of(&own), own);
                image.stored = Some(copied.layers);
            }
        }
        Ok(image)
    }

    pub(crate) fn root(&self) -> Entry {
        Entry::new(self.manifest.0.to_string(), self.manifest.1.len() as u64)
    }

    /// The manifest or the configuration.
    pub(crate) async fn document(&self, entry: &Entry) -> Result<Vec<u8>, Problem> {
        let blob = checked(entry)?;
        match &self.blobs {
            _ if blob.digest == self.manifest.0 => Ok(self.manifest.1.clone()),
            Through::Copied(local) => local.document(entry),
            Through::Proxy(proxy) => {
                let mut bytes = Vec::new();
                proxy.blob(&blob, &mut bytes, |_| ()).await?;
                Ok(bytes)
            }
        }
    }

    /// The layers that the manifest names, as they can be read.
    pub(crate) fn layers(&self, named: Vec<Entry>) -> Result<Vec<Entry>, Problem> {
        let Some(stored) = &self.stored else { return Ok(named) };
        if stored.len() != named.len() {
            let reason = format!("it has {} layers, but skopeo finds {}", named.len(), stored.len());
            return Err(Problem::document(self.manifest.0, "an image manifest", reason));
        }
        let both = named.into_iter().zip(stored);
        Ok(both.map(|(named, stored)| if named.digest == stored.digest { named } else { stored.clone() }).collect())
    }

    pub(crate) async fn layer(&self, blob: &Descriptor, mut staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        match &self.blobs {
            Through::Copied(local) => local.layer(blob, staged).await,
            Through::Proxy(proxy) => {
                proxy.blob(blob, staged.as_file_mut(), |received| proxy.received(blob, received)).await?;
                Ok(staged)
            }
        }
    }

    pub(crate) async fn close(self) {
        if let Through::Proxy(proxy) = self.blobs {
            proxy.close().await;
        }
    }
}

/// `None` for an index.
fn manifest(bytes: &[u8]) -> Result<Option<Manifest>, Problem> {
    match document::parse("the manifest", "", bytes)? {
        Document::Manifest(manifest) => Ok(Some(manifest)),
        Document::Index(_) => Ok(None),
    }
}
