//! Caches, and files in the making.
//!
//! * A file has its name only when it is whole: it gets there by a rename ([`staged_file`], [`StagedDirectory`]).
//! * A document carries its SHA-256, which covers its name too, and is checked at each read ([`Root::read`]).
//! * A blob is named by its SHA-256. It is hashed when it comes, and again when its size, times or inode are not those of
//!   that moment, or when everything is to be checked ([`Blobs`]).
//! * A directory that other code fills has a list of what was in it ([`Sealed`]).
//! * Whatever is damaged is removed, counts as absent and is noted ([`Root::take_damaged`]), so it is made or fetched again.
//! * What was not used for longest goes first ([`trim`]), while nobody uses the cache ([`Root::hold`]).

mod blobs;
mod document;
mod parts;
mod root;
mod sealed;
mod staging;
mod trim;

pub use blobs::{Blobs, Identity, KnownBlob, sha256_of, sharded};
pub use parts::CacheDirectory;
pub use root::{Held, Root};
pub use sealed::Sealed;
pub use staging::{LOCK, StagedDirectory, is_at, lock, remove_content, staged_file, sweep_directories, sweep_files};
pub use trim::{FileSet, files_below, trim, trim_below};
