//! One repository of a registry: what can be asked of it, and what can be put there.

mod blobs;
mod manifests;
mod read_back;
mod referrers;
mod session;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::OnceCell;

pub use blobs::{BlobSource, Mount, Sink, Upload};
pub use manifests::{Put, named};
pub use referrers::is_referrers_tag;

use crate::{
    auth::Auth,
    call::Client,
    credentials::{Credentials, Secrets},
    error::Error,
    event::{Event, Events},
    http::Http,
    options::{Access, RegistryAccess, RegistryOptions},
    repository::Repository,
    retry::{Clock, RetryBudget, SystemClock},
};

/// One repository of a registry. It is used by many tasks at once.
#[derive(Debug)]
pub struct Registry {
    repository: Repository,
    access: Access,
    chunk_size: Option<u64>,
    pub(crate) check_blobs: bool,
    client: Client,
    auth: Auth,
    reached: OnceCell<()>,
}

impl Registry {
    /// Prepares connections to a registry; asks nobody yet. Whatever happens on the way goes to `events`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Setting`](crate::ErrorKind::Setting) and [`ErrorKind::Read`](crate::ErrorKind::Read) when certificates or proxies cannot be used.
    pub fn connect(
        repository: &Repository,
        access: Access,
        options: &RegistryOptions,
        credentials: Credentials,
        events: Events,
    ) -> Result<Self, Error> {
        let secrets = Secrets::default();
        credentials.secrets().iter().for_each(|secret| secrets.add(secret));
        Ok(Self {
            repository: repository.clone(),
            access,
            chunk_size: options.chunk_size,
            check_blobs: options.check_blobs,
            client: Client {
                http: Http::new(repository, options)?,
                clock: Arc::new(SystemClock::default()),
                events,
                budget: RetryBudget::new(options.retry_budget),
                progress_timeout: options.progress_timeout,
                requests: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                warnings: Mutex::default(),
                secrets,
            },
            auth: Auth::new(credentials, access),
            reached: OnceCell::new(),
        })
    }

    /// Prepares reading, with no credentials that are meant for publishing.
    ///
    /// # Errors
    ///
    /// As [`Registry::connect`] and [`CredentialSources::find`](crate::CredentialSources::find).
    pub async fn for_reading(repository: &Repository, access: &RegistryAccess, events: Events) -> Result<Self, Error> {
        let credentials = access.credentials.for_reading().find(repository).await?;
        Self::connect(repository, Access::Pull, &access.options, credentials, events)
    }

    /// With another clock: for tests that wait for nothing.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.client.clock = clock;
        self
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// HTTP requests so far, those for tokens included.
    pub fn requests(&self) -> u64 {
        self.client.requests.load(Ordering::Relaxed)
    }

    /// Bytes of blobs and manifests that were sent so far, repeated ones included.
    pub fn bytes_sent(&self) -> u64 {
        self.client.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn say(&self, event: Event) {
        (self.client.events)(event);
    }

    /// What a token has to allow for the repository.
    fn scope(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.repository.path())
    }
}
