//! Registries (OCI distribution-spec): one client for what is read from them and what is written to them.
//!
//! ```text
//! client              manifests, blobs, upload      what a registry can do
//!   session           first contact, 401, redirects, further attempts
//!     auth, credentials               who we are
//!     retry                                       when to try again
//!   call              one request: time, size, warnings
//!     http, guard, proxy                          TLS, and where requests may go
//! ```
//!
//! [`push`] puts one image index into one repository, in the order that keeps every tag whole.
//!
//! **What a registry says is not believed**: what matters is read back, and compared with its digest.
//! **Credentials go to their registry and to its token service**, and nowhere else.

mod auth;
mod body;
mod call;
mod client;
mod credentials;
pub mod document;
mod error;
mod error_body;
mod event;
mod http;
mod options;
pub mod push;
mod repository;
mod retry;
#[cfg(test)]
mod testing;

pub use client::{BlobSource, Mount, Put, Registry, Sink, Upload, is_referrers_tag, named};
pub use credentials::{CredentialSources, Credentials, HostCredentials, Secret, variable_suffix};
pub use error::{Error, ErrorKind};
pub use event::{Arrival, Event, Events, no_events};
pub use options::{Access, RegistryAccess, RegistryOptions};
pub use repository::{ParseRepositoryError, Repository, RepositoryRef, check_tag};
pub use retry::{Clock, SystemClock};
