//! Registries (OCI distribution-spec): one client for what is read from them and what is written to them.

mod clock;
mod credentials;
mod error;
mod event;
mod options;
mod repository;
mod secret;

pub use clock::{Clock, SystemClock};
pub use credentials::{CredentialSources, Credentials, HostCredentials};
pub use error::Error;
pub use event::{Arrival, Event, Events, no_events};
pub use options::{Proxies, RegistryOptions};
pub use repository::{ParseRepositoryError, Repository, RepositoryRef, check_tag};
pub use secret::Secret;
