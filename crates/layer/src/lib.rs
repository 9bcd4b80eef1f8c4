//! A file tree and the one deterministic tar it becomes.
//!
//! This is the neck of the hourglass: left of it nobody knows OCI, right of it nobody knows conda. A [`FileTree`]
//! says what a layer will hold; [`LayerWriter`] turns trees into compressed tar bytes, and is the only place where
//! the digests of a layer are made, in the same pass that writes it.
//!
//! **Invariant:** the bytes are a function of the trees and the options alone. No clock, environment, user, locale or
//! thread count is read; what may not vary (owner, device numbers, access times, extended attributes) cannot be
//! expressed by a [`Node`].

#![warn(missing_docs)]

mod compress;
mod content;
mod digest;
mod dump;
mod path;
mod split;
mod tar;
mod tree;
mod writer;

pub use compress::{Compression, ParseCompressionError, compress};
pub use content::{Content, ContentStore, MemoryBudget};
pub use digest::{DiffId, Digest, DigestWriter, ParseDigestError};
pub use dump::dump;
pub use path::{PathError, TreePath, too_long};
pub use split::split;
pub use tree::{DirectoryAttributes, File, FileTree, Mode, Node, TreeError};
pub use writer::{Error, Layer, LayerWriter, diff_id};

/// The version of the rules by which a tree becomes tar bytes. Changing any byte for the same tree raises it.
pub const LAYER_FORMAT_VERSION: u32 = 1;
