//! Writes squashfs 4.0: read-only file systems that the kernel mounts and that Apptainer's images are made of.
//!
//! The bytes are a function of the files, their order and the [`Compressor`] alone; no thread count, clock or user shows.
//! Everything belongs to 0:0, and there are no extended attributes, devices or exports, because containers need none.
//!
//! Contents come first, in runs: a [`RunWriter`] compresses the blocks of files in parallel while it reads them, and what
//! it wrote does not depend on where it stands. Then [`Writer`] takes the inodes, children before their directories.
//!
//! The format is that of the kernel's `fs/squashfs/squashfs_fs.h` and Documentation/filesystems/squashfs.rst.

mod compress;
mod directory;
mod inode;
mod metadata;
mod run;
mod workers;
mod writer;

pub use compress::Compressor;
pub use inode::{InodeAttributes, InodeRef};
pub use run::{ContentRun, FileData, RunWriter};
pub use writer::{Error, Writer};

/// The length of a data block. mksquashfs's default, and the most that all readers accept is eight times as much.
pub const BLOCK: usize = 128 << 10;

#[cfg(test)]
mod tests;
