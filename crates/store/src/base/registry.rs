//! Base images from registries: through the cache, so that an image that is named by its digest needs no network the
//! second time.

use oci_read::document::Descriptor as Entry;
use oci_spec::distribution::Reference;
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry as registry;
use pixi_oci_registry::{ErrorKind, Events, RegistryAccess, RepositoryRef};
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

use super::{BaseOptions, Problem, Store};
use crate::destination::check_bytes;

pub(super) struct BaseRegistry {
    /// The name as it was given, completed.
    name: String,
    reference: RepositoryRef,
    access: RegistryAccess,
    /// Credentials are looked for, and programs for them run, when they are needed.
    client: OnceCell<registry::Registry>,
    store: Store,
    offline: bool,
    events: Events,
}

impl BaseRegistry {
    pub(super) fn new(reference: &Reference, options: &BaseOptions<'_>, store: Store) -> Result<Self, Problem> {
        let name = reference.to_string();
        let read = name.parse().map_err(|error| Problem::document(&name, "the name of a base image", error))?;
        Ok(Self {
            name,
            reference: read,
            access: options.registries.clone(),
            client: OnceCell::new(),
            store,
            offline: options.offline,
            events: options.events.clone(),
        })
    }

    /// What the reference means now; without a network, what it meant last.
    pub(super) async fn root(&self) -> Result<Entry, Problem> {
        let digest = match self.reference.digest {
            Some(digest) => Some(digest),
            None if self.offline => self.store.resolved(&self.name),
            None => None,
        };
        if let Some(digest) = digest {
            let size = self.document(&digest).await?.len() as u64;
            return Ok(Entry::new(digest.to_string(), size));
        }
        let asked = self.client().await?.manifest(&self.reference.reference()).await;
        let (found, bytes) = asked.map_err(|source| match source.kind() {
            ErrorKind::RegistryDown if self.store.resolved(&self.name).is_some() => {
                Problem::Known { name: self.name.clone(), source: Box::new(source) }
            }
            _ => self.problem(self.name.clone(), source),
        })?;
        self.store.put_document(&found.digest, &bytes);
        self.store.put_resolved(&self.name, &found.digest);
        Ok(Entry::new(found.digest.to_string(), found.size))
    }

    pub(super) async fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
        let bytes = self.document(&descriptor.digest).await?;
        check_bytes(descriptor, &bytes)?;
        Ok(bytes)
    }

    async fn document(&self, digest: &Digest) -> Result<Vec<u8>, Problem> {
        if let Some(bytes) = self.store.document(digest) {
            return Ok(bytes);
        }
        let text = digest.to_string();
        let (_, bytes) =
            self.client().await?.manifest(&text).await.map_err(|source| self.problem(text.clone(), source))?;
        self.store.put_document(digest, &bytes);
        Ok(bytes)
    }

    pub(super) async fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
        if let Some(bytes) = self.store.document(&descriptor.digest) {
            return Ok(bytes);
        }
        let fetched = self.client().await?.fetch_document(descriptor).await;
        let bytes = fetched.map_err(|source| self.problem(format!("blob {}", descriptor.digest), source))?;
        self.store.put_document(&descriptor.digest, &bytes);
        Ok(bytes)
    }

    pub(super) async fn layer(&self, blob: &Descriptor, mut staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        let fetched = self.client().await?.fetch_blob(blob, staged.as_file_mut()).await;
        fetched.map_err(|source| self.problem(format!("blob {}", blob.digest), source))?;
        Ok(staged)
    }

    async fn client(&self) -> Result<&registry::Registry, Problem> {
        if self.offline {
            return Err(Problem::Offline);
        }
        let repository = &self.reference.repository;
        let connect = || registry::Registry::for_reading(repository, &self.access, self.events.clone());
        let connected = self.client.get_or_try_init(connect).await;
        connected.map_err(|source| self.problem(format!("access to {}", repository.host()), source))
    }

    fn problem(&self, what: String, source: registry::Error) -> Problem {
        Problem::Registry { what, source: Box::new(source) }
    }
}
