//! Trees in, one layer blob out: tar, compression and both digests in one pass.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use ::tar::EntryType;
use sha2::{Digest as _, Sha256};

use crate::{
    Compression, Content, DiffId, Digest, DigestWriter, DirectoryAttributes, FileTree, Mode, Node, TreePath,
    compress::compress_pieces,
    path::too_long,
    tar::{self, EntryHeader},
};

/// What was written: all that a manifest and an image configuration need to know of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Compressed length in bytes.
    pub size: u64,
    /// Of the tar.
    pub diff_id: DiffId,
    /// Length of the tar in bytes.
    pub tar_size: u64,
    /// How it is compressed.
    pub compression: Compression,
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same path came from two trees, or as two kinds.
    #[error("{path} is in the layer twice")]
    Duplicate {
        /// From the image's root.
        path: String,
    },
    /// A file or link has paths below it.
    #[error("{path} is not a directory, but {child} is in it")]
    NotADirectory {
        /// The file or link.
        path: String,
        /// What would be below it.
        child: String,
    },
    /// A hard link to a path that no earlier entry of this layer has.
    #[error("hard link {path} points to {target}, which is not a file earlier in the layer")]
    DanglingHardLink {
        /// The link.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A content could not be read.
    #[error("cannot read the content of {path}")]
    Content {
        /// From the image's root.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A path or link target that no reader of images takes.
    #[error("{path}: {reason}")]
    TooLong {
        /// The path, or its beginning.
        path: String,
        /// How long it is, and how long it may be.
        reason: String,
    },
    /// The sink failed.
    #[error("cannot write the layer")]
    Write(#[from] io::Error),
}

/// The owner of all but [`Node::Inherited`].
const ROOT: (u32, u32) = (0, 0);

/// Writes one layer. Trees keep the order in which they are added; inside a tree the order is that of paths.
pub struct LayerWriter<W: Write>(Tar<Pieces<W>>);

/// The tar of trees, as it is before it is compressed.
struct Tar<W: Write> {
    out: W,
    mtime: i64,
    seen: HashMap<Box<str>, Seen>,
}

#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Directory(Mode),
    File,
    Link,
}

impl<W: Write> LayerWriter<W> {
    /// A layer that goes to `sink`; nodes without a time get `mtime` (seconds since 1970).
    pub fn new(sink: W, compression: Compression, mtime: i64) -> Self {
        Self(Tar::new(Pieces::new(sink, compression), mtime))
    }

    /// Adds all nodes of `tree` with the directories above them that the layer has not had yet.
    pub fn add(&mut self, tree: &FileTree) -> Result<(), Error> {
        self.0.add(tree)
    }

    /// As [`add`](Self::add), for who needs the tree no more: the memory of each content is free as soon as it is written.
    pub fn add_last(&mut self, tree: FileTree) -> Result<(), Error> {
        for (path, node) in tree {
            self.0.add_parents(&path)?;
            self.0.add_node(&path, &node)?;
        }
        Ok(())
    }

    /// Ends the tar and gives the layer's identity and the sink (not flushed).
    pub fn finish(self) -> Result<(Layer, W), Error> {
        Ok(self.0.finish()?.finish()?)
    }
}

/// What the [`Layer::diff_id`] of a layer of this tree alone is.
pub fn diff_id(tree: &FileTree, mtime: i64) -> Result<DiffId, Error> {
    let mut tar = Tar::new(DigestWriter::new(io::sink()), mtime);
    tar.add(tree)?;
    let (digest, ..) = tar.finish()?.finish();
    Ok(DiffId(digest))
}

impl<W: Write> Tar<W> {
    fn new(out: W, mtime: i64) -> Self {
        Self { out, mtime, seen: HashMap::new() }
    }

    fn add(&mut self, tree: &FileTree) -> Result<(), Error> {
        for (path, node) in tree.iter() {
            self.add_parents(path)?;
            self.add_node(path, node)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<W, Error> {
        self.out.write_all(&tar::END)?;
        Ok(self.out)
    }

    fn add_parents(&mut self, path: &TreePath) -> Result<(), Error> {
        for parent in path.ancestors() {
            match self.seen.get(parent) {
                Some(Seen::Directory(_)) => {}
                Some(_) => return Err(Error::NotADirectory { path: parent.into(), child: path.to_string() }),
                // An explicit directory of this tree sorts before its children, so this one is implied.
                None => self.directory(parent, DirectoryAttributes::DEFAULT)?,
            }
        }
        Ok(())
    }

    fn add_node(&mut self, path: &TreePath, node: &Node) -> Result<(), Error> {
        let path = path.as_str();
        match (self.seen.get(path), node) {
            (None, _) => {}
            (Some(Seen::Directory(had)), Node::Directory { mode }) if had == mode => return Ok(()),
            (Some(_), _) => return Err(Error::Duplicate { path: path.into() }),
        }
        match node {
            Node::Directory { mode } => {
                self.directory(path, DirectoryAttributes { mode: *mode, ..DirectoryAttributes::DEFAULT })
            }
            Node::Inherited(attributes) => self.directory(path, *attributes),
            Node::File(file) => {
                self.seen.insert(path.into(), Seen::File);
                let mtime = file.mtime.unwrap_or(self.mtime);
                self.file(path, &file.content, file.mode, mtime)
            }
            Node::Symlink { target, mtime } => {
                self.seen.insert(path.into(), Seen::Link);
                let mtime = mtime.unwrap_or(self.mtime);
                self.header(
                    path,
                    EntryHeader { kind: EntryType::Symlink, mode: 0o777, mtime, size: 0, owner: ROOT, target },
                )
            }
            Node::HardLink { target } => {
                let target = target.as_str();
                if self.seen.get(target) != Some(&Seen::File) {
                    return Err(Error::DanglingHardLink { path: path.into(), target: target.into() });
                }
                self.seen.insert(path.into(), Seen::Link);
                let mtime = self.mtime;
                self.header(
                    path,
                    EntryHeader { kind: EntryType::Link, mode: 0o644, mtime, size: 0, owner: ROOT, target },
                )
            }
        }
    }

    fn directory(&mut self, path: &str, attributes: DirectoryAttributes) -> Result<(), Error> {
        let DirectoryAttributes { mode, owner, group } = attributes;
        self.seen.insert(path.into(), Seen::Directory(mode));
        let (mtime, owner) = (self.mtime, (owner, group));
        let entry = EntryHeader { kind: EntryType::Directory, mode: mode.bits(), mtime, size: 0, owner, target: "" };
        self.header(&format!("{path}/"), entry)
    }

    fn file(&mut self, path: &str, content: &Content, mode: Mode, mtime: i64) -> Result<(), Error> {
        let size = content.len();
        self.header(
            path,
            EntryHeader { kind: EntryType::Regular, mode: mode.bits(), mtime, size, owner: ROOT, target: "" },
        )?;
        content.copy_to(&mut self.out).map_err(|source| Error::Content { path: path.into(), source })?;
        Ok(self.out.write_all(tar::padding(size))?)
    }

    fn header(&mut self, path: &str, entry: EntryHeader<'_>) -> Result<(), Error> {
        if let Some(reason) = too_long(path).or_else(|| too_long(entry.target)) {
            return Err(Error::TooLong { path: path.chars().take(200).collect(), reason });
        }
        Ok(tar::write_header(&mut self.out, path, &entry)?)
    }
}

/// Cuts the tar into pieces and compresses a batch of them at a time.
struct Pieces<W: Write> {
    sink: DigestWriter<W>,
    compression: Compression,
    tar_sha256: Sha256,
    tar_size: u64,
    current: Vec<u8>,
    full: Vec<Vec<u8>>,
    /// The memory of pieces that were written.
    spare: Vec<Vec<u8>>,
}

impl<W: Write> Pieces<W> {
    fn new(sink: W, compression: Compression) -> Self {
        Self {
            sink: DigestWriter::new(sink),
            compression,
            tar_sha256: Sha256::new(),
            tar_size: 0,
            current: Vec::new(),
            full: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// One piece for each thread that may compress. One more would keep one thread at work and all others waiting; hashing
    /// takes a twentieth of the time.
    fn batch() -> usize {
        rayon::current_num_threads()
    }

    fn end_piece(&mut self) -> io::Result<()> {
        if !self.current.is_empty() {
            self.full.push(std::mem::take(&mut self.current));
        }
        if self.full.len() >= Self::batch() { self.write_batch() } else { Ok(()) }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let (pieces, sha256, compression) = (&self.full, &mut self.tar_sha256, self.compression);
        let (compressed, ()) = rayon::join(
            || compress_pieces(pieces, compression),
            || pieces.iter().for_each(|piece| sha256.update(piece)),
        );
        self.spare.extend(self.full.drain(..).map(|mut piece| {
            piece.clear();
            piece
        }));
        compressed?.iter().try_for_each(|piece| self.sink.write_all(piece))
    }

    fn finish(mut self) -> io::Result<(Layer, W)> {
        self.end_piece()?;
        self.write_batch()?;
        let (digest, size, sink) = self.sink.finish();
        let diff_id = DiffId(Digest::from_bytes(self.tar_sha256.finalize().into()));
        Ok((Layer { digest, size, diff_id, tar_size: self.tar_size, compression: self.compression }, sink))
    }
}

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = self.compression.piece();
        if self.current.capacity() == 0 {
            self.current = self.spare.pop().unwrap_or_default();
            // Small layers are many: they must not pay for a whole piece.
            self.current.reserve(bytes.len().clamp(8 * 1024, piece));
        }
        let n = bytes.len().min(piece - self.current.len());
        self.current.extend_from_slice(&bytes[..n]);
        self.tar_size += n as u64;
        if self.current.len() == piece {
            self.end_piece()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
