//! Package archives on this machine: fetched once, verified by the lock file's hashes, kept by sha256.
//!
//! ```text
//! LockedPackage… ─▶ FetchItem… ─▶ ArchiveCache::fetch ─▶ CachedArchive…
//! ```

mod blocking;
mod cache;
mod download;
mod error;
mod fetch;
mod item;
mod part;

pub use cache::{ArchiveCache, CachedArchive};
pub use error::Error;
pub use item::{ArchiveIdentity, FetchEvent, FetchItem, FetchOptions};
pub use part::{NoPart, PartialArchive};
