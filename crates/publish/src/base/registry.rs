//! Reads images from a registry (OCI distribution-spec, "Pull").
//!
//! Whatever comes is compared with its digest before it is used. Documents and layers that were had before come from
//! the cache, so an image that is named by its digest needs no network the second time.

mod credentials;

use std::{
    io::{Seek, Write},
    time::Duration,
};

use futures_util::StreamExt;
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::{DigestError, OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::{Digest, DigestWriter};
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

use crate::{
    Error,
    base::{BaseOptions, DocumentEntry, MANIFEST_TYPES, Problem, Store},
    destination::{check, check_bytes},
    references::MAX_DOCUMENT,
};

/// How long to wait before each new attempt at something that failed for a reason that may pass.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// How much of what a registry says an error repeats, in characters.
const MAX_SAID: usize = 1000;

/// One repository of a registry.
pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    /// Whether the registry has been asked for a token. Not before it is needed.
    authorised: OnceCell<()>,
    store: Store,
    offline: bool,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads the credentials; asks nobody yet.
    pub(crate) fn new(reference: &Reference, options: &BaseOptions<'_>, store: Store) -> Result<Self, Problem> {
        let registry = reference.resolve_registry();
        let config = ClientConfig {
            // Registries of the own machine have no certificates; all others must have.
            protocol: if is_loopback(registry) { ClientProtocol::Http } else { ClientProtocol::Https },
            platform_resolver: None,
            connect_timeout: Some(Duration::from_secs(10)),
            read_timeout: Some(Duration::from_secs(60)),
            user_agent: concat!("pixi-oci/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        // Not `Client::new`: it falls back to a client without this configuration.
        let client = Client::try_from(config).map_err(|source| problem("a connection", source))?;
        Ok(Self {
            client,
            auth: credentials::find(options.auth_files, reference)?,
            reference: reference.clone(),
            authorised: OnceCell::new(),
            store,
            offline: options.offline,
        })
    }

    /// What the reference means now; without a network, what it meant last.
    pub(crate) async fn root(&self) -> Result<DocumentEntry, Problem> {
        let name = self.reference.to_string();
        let digest = match self.reference.digest() {
            Some(digest) => Some(digest.parse().map_err(|error| Problem::document(&name, "a pinned image", error))?),
            None if self.offline => self.store.resolved(&name),
            None => None,
        };
        let Some(digest) = digest else {
            let (digest, size) = self.pull_document(&self.reference).await?;
            self.store.put_resolved(&name, &digest)?;
            return Ok(DocumentEntry::new(&digest, size));
        };
        if let Some(bytes) = self.store.document(&digest) {
            return Ok(DocumentEntry::new(&digest, bytes.len() as u64));
        }
        let (found, size) = self.pull_document(&self.by_digest(&digest)).await?;
        if found != digest {
            return Err(Problem::document(&name, "the image of its digest", format!("the registry sent {found}")));
        }
        Ok(DocumentEntry::new(&digest, size))
    }

    /// A manifest or index.
    pub(crate) async fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
        let bytes = match self.store.document(&descriptor.digest) {
            Some(bytes) => bytes,
            None => {
                let (digest, _) = self.pull_document(&self.by_digest(&descriptor.digest)).await?;
                self.store.document(&digest).ok_or_else(|| missing(&digest))?
            }
        };
        check_bytes(descriptor, &bytes)?;
        Ok(bytes)
    }

    /// An image configuration.
    pub(crate) async fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
        let digest = &descriptor.digest;
        if self.store.document(digest).is_none() {
            let staged = self.pull_blob(descriptor, self.store.staging()?).await?;
            self.store.adopt(staged, digest)?;
        }
        self.store.document(digest).ok_or_else(|| missing(digest))
    }

    /// Fills `staged` with a layer.
    pub(crate) async fn layer(&self, blob: &Descriptor, staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        self.pull_blob(blob, staged).await
    }

    /// Fetches a document into the store, under the digest of what came.
    async fn pull_document(&self, reference: &Reference) -> Result<(Digest, u64), Problem> {
        self.log_in().await?;
        let pull = || self.client.pull_manifest_raw(reference, &self.auth, &MANIFEST_TYPES);
        let (bytes, _) = retry(pull).await.map_err(|source| problem(reference.to_string(), source))?;
        let size = bytes.len() as u64;
        if size > MAX_DOCUMENT {
            let reason = format!("it is larger than {MAX_DOCUMENT} bytes");
            return Err(Problem::document(reference, "an image manifest or image index", reason));
        }
        let digest = Digest::of(&bytes);
        self.store.put_document(&digest, &bytes)?;
        Ok((digest, size))
    }

    async fn pull_blob(&self, blob: &Descriptor, mut staged: NamedTempFile) -> Result<NamedTempFile, Problem> {
        self.log_in().await?;
        let mut waits = WAITS.iter();
        loop {
            let error = match self.pull_once(blob, &mut staged).await {
                Ok(()) => return Ok(staged),
                Err(Attempt::Final(problem)) => return Err(problem),
                Err(Attempt::Failed(error)) => error,
            };
            match waits.next() {
                Some(wait) if may_pass(&error) => tokio::time::sleep(*wait).await,
                _ => return Err(problem(format!("blob {}", blob.digest), error)),
            }
        }
    }

    async fn pull_once(&self, blob: &Descriptor, staged: &mut NamedTempFile) -> Result<(), Attempt> {
        let path = staged.path().to_owned();
        let write = |error| Attempt::Final(Error::io("write", &path)(error).into());
        staged.as_file().set_len(0).and_then(|()| staged.rewind()).map_err(write)?;
        let digest = blob.digest.to_string();
        let mut body = self.client.pull_blob_stream(&self.reference, digest.as_str()).await.map_err(Attempt::Failed)?;
        let mut sink = DigestWriter::new(staged);
        let mut left = blob.size;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| Attempt::Failed(error.into()))?;
            // A registry that sends more does not get to fill the disk.
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                let found = "the registry sends more".to_owned();
                let (expected, expected_size) = (blob.digest, blob.size);
                Attempt::Final(Error::Content { what: "a blob".into(), expected, expected_size, found }.into())
            })?;
            sink.write_all(&bytes).map_err(write)?;
        }
        let (digest, size, _) = sink.finish();
        check(blob, || format!("a blob of {}", self.reference), digest, size).map_err(|e| Attempt::Final(e.into()))
    }

    async fn log_in(&self) -> Result<(), Problem> {
        if self.offline {
            return Err(Problem::Offline);
        }
        let log_in = || self.client.auth(&self.reference, &self.auth, RegistryOperation::Pull);
        let what = || format!("access to {}", self.reference.resolve_registry());
        let logged_in = self.authorised.get_or_try_init(|| async { retry(log_in).await.map(drop) });
        logged_in.await.map(drop).map_err(|source| problem(what(), source))
    }

    fn by_digest(&self, digest: &Digest) -> Reference {
        self.reference.clone_with_digest(digest.to_string())
    }
}

/// How one attempt to get a blob failed.
enum Attempt {
    /// Another attempt may work.
    Failed(OciDistributionError),
    /// Another attempt would fail as well.
    Final(Problem),
}

async fn retry<T, F: Future<Output = Result<T, OciDistributionError>>>(
    attempt: impl Fn() -> F,
) -> Result<T, OciDistributionError> {
    for wait in WAITS {
        match attempt().await {
            Err(error) if may_pass(&error) => tokio::time::sleep(wait).await,
            result => return result,
        }
    }
    attempt().await
}

fn may_pass(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => !error.is_builder(),
        // A connection that broke; but oci-client says in this way too that a whole body has another digest.
        OciDistributionError::IoError(error) => !error.get_ref().is_some_and(|inner| inner.is::<DigestError>()),
        OciDistributionError::ServerError { code, .. } => matches!(code, 408 | 429 | 500..),
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|error| error.code == OciErrorCode::Toomanyrequests)
        }
        _ => false,
    }
}

fn problem(what: impl Into<String>, source: OciDistributionError) -> Problem {
    let source: Box<dyn std::error::Error + Send + Sync> = match source {
        // Errors of this machine have causes, which stay.
        OciDistributionError::RequestError(error) => Box::new(error),
        OciDistributionError::IoError(error) => Box::new(error),
        // The others may repeat a page that the registry sent, with whatever is in it.
        other => other.to_string().chars().filter(|c| !c.is_control()).take(MAX_SAID).collect::<String>().into(),
    };
    Problem::Registry { what: what.into(), source }
}

/// A document that was just stored and is not there, or not whole.
fn missing(digest: &Digest) -> Problem {
    Problem::document(digest, "in the cache any more", "somebody has removed or changed it")
}

/// `localhost`, `127.0.0.1:5000`, `[::1]:5000`.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_the_own_machine_may_be_without_certificates() {
        for own in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            assert!(is_loopback(own), "{own}");
        }
        for other in ["localhost.example.org", "10.0.0.1:5000", "128.0.0.1", "ghcr.io", "[::2]:5000", ""] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
