//! Registries (OCI distribution-spec): one client for what is read from them and what is written to them.
//!
//! ```text
//! Registry            manifests, blobs, upload      what a registry can do
//!   session           first contact, 401, redirects, further attempts
//!     token, challenge, credentials               who we are
//!     retry                                       when to try again
//!   call              one request: time, size, warnings
//!     http, guard, proxy                          TLS, and where requests may go
//! ```
//!
//! **What a registry says is not believed**: what matters is read back, and compared with its digest.
//! **Credentials go to their registry and to its token service**, and nowhere else.

mod blobs;
mod body;
mod call;
mod challenge;
mod clock;
mod credentials;
mod error;
mod event;
mod guard;
mod http;
mod manifests;
mod options;
mod proxy;
mod read_back;
mod repository;
mod retry;
mod said;
mod secret;
mod session;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod upload;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::OnceCell;

pub use blobs::{Mount, Source, Upload};
pub use clock::{Clock, SystemClock};
pub use credentials::{CredentialSources, Credentials, HostCredentials};
pub use error::Error;
pub use event::{Arrival, Event, Events, no_events};
pub use manifests::Put;
pub use options::{Proxies, RegistryOptions};
pub use repository::{ParseRepositoryError, Repository, RepositoryRef, check_tag};
pub use secret::Secret;

/// What is needed to use whichever registry turns up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAccess {
    /// How registries are reached.
    pub options: RegistryOptions,
    /// Where credentials are looked for.
    pub credentials: CredentialSources,
}

/// What is to be done at a registry, which decides what a token has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading. Credentials are not needed for what is public.
    Pull,
    /// Reading and writing. Without credentials, a registry that wants some is [`Error::EmptyToken`].
    Push,
}

/// One repository of a registry. It is used by many tasks at once.
#[derive(Debug)]
pub struct Registry {
    repository: Repository,
    access: Access,
    chunk_size: Option<u64>,
    client: call::Client,
    auth: token::Auth,
    reached: OnceCell<()>,
}

impl Registry {
    /// Prepares connections to a registry; asks nobody yet. Whatever happens on the way goes to `events`.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] and [`Error::Read`] when certificates or proxies cannot be used.
    pub fn connect(
        repository: &Repository,
        access: Access,
        options: &RegistryOptions,
        credentials: Credentials,
        events: Events,
    ) -> Result<Self, Error> {
        Ok(Self {
            repository: repository.clone(),
            access,
            chunk_size: options.chunk_size,
            client: call::Client {
                http: http::Http::new(repository, options)?,
                clock: Arc::new(SystemClock::default()),
                events,
                budget: retry::Budget::new(options.retry_budget),
                progress_timeout: options.progress_timeout,
                requests: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                warnings: Mutex::default(),
            },
            auth: token::Auth::new(credentials, access),
            reached: OnceCell::new(),
        })
    }

    /// With another clock: for tests that wait for nothing.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.client.clock = clock;
        self
    }

    /// The repository.
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

    /// Says that something happened.
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
