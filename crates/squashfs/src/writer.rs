//! The whole: superblock, contents, and the tables after them.

use std::io::{self, Seek, SeekFrom, Write};

use crate::{
    BLOCK, Compressor, ContentRun, FileData, InodeAttributes, InodeRef, directory, inode,
    inode::InodeKind,
    metadata::{MetadataTable, Position},
    run::Fragment,
};

const SUPERBLOCK: u64 = 96;
const MAGIC: u32 = 0x7371_7368;
/// Extended attributes are not there; ends of files of any length are in fragments.
const FLAGS: u16 = 0x0200 | 0x0020;
const ABSENT: u64 = u64::MAX;
/// Loop devices have whole pages.
const PAGE: u64 = 4096;

/// Why a file system cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what} of {found}; squashfs has at most {most}")]
    TooMuch { what: &'static str, found: u64, most: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Longest name and target that Linux has (`NAME_MAX`, `PATH_MAX` with its final NUL).
const MAX_NAME: u64 = 255;
const MAX_TARGET: u64 = 4095;

/// Writes a file system where the sink stands.
pub struct Writer<W> {
    sink: W,
    base: u64,
    /// How much there is of it.
    length: u64,
    compressor: Compressor,
    fragments: Vec<Fragment>,
    inodes: MetadataTable,
    directories: MetadataTable,
    count: u32,
}

impl<W: Write + Seek> Writer<W> {
    pub fn new(mut sink: W, compressor: Compressor) -> Result<Self, Error> {
        let base = sink.stream_position()?;
        // It is written when everything else is there.
        sink.write_all(&[0; SUPERBLOCK as usize])?;
        Ok(Self {
            sink,
            base,
            length: SUPERBLOCK,
            compressor,
            fragments: Vec::new(),
            inodes: MetadataTable::new(compressor)?,
            directories: MetadataTable::new(compressor)?,
            count: 0,
        })
    }

    /// Where the next run is written.
    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Takes a run that was just written to the sink; gives where the contents of its files are.
    pub fn place(&mut self, run: ContentRun) -> Vec<FileData> {
        let first = self.fragments.len() as u32;
        let moved = |fragment: Fragment| Fragment { start: fragment.start + self.length, ..fragment };
        let fragments: Vec<_> = run.fragments.into_iter().map(moved).collect();
        let mut files = run.files;
        for file in &mut files {
            if file.blocks.iter().any(|size| *size != 0) {
                file.start += self.length;
            }
            file.tail = file.tail.map(|(number, offset)| (first + number, offset));
        }
        self.fragments.extend(fragments);
        self.length += run.length;
        files
    }

    /// Writes the inode of a file that has so many names.
    pub fn file(&mut self, attributes: InodeAttributes, data: &FileData, links: u32) -> Result<InodeRef, Error> {
        self.inode(InodeKind::File, attributes, &inode::file(attributes, data, links))
    }

    /// Writes the inode of a symbolic link that has so many names.
    ///
    /// # Errors
    ///
    /// The target is too long.
    pub fn symlink(&mut self, attributes: InodeAttributes, target: &[u8], links: u32) -> Result<InodeRef, Error> {
        at_most("a link's target", target.len() as u64, MAX_TARGET)?;
        self.inode(InodeKind::Symlink, attributes, &inode::symlink(attributes, target, links))
    }

    /// Writes a directory. `entries` are sorted by name, `parent` is the number of the directory that it is in.
    ///
    /// # Errors
    ///
    /// A name is too long, or there are too many.
    pub fn directory(
        &mut self,
        attributes: InodeAttributes,
        entries: &[(&[u8], InodeRef)],
        parent: u32,
    ) -> Result<InodeRef, Error> {
        debug_assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        entries.iter().try_for_each(|(name, _)| at_most("a name", name.len() as u64, MAX_NAME))?;
        let names: u64 = entries.iter().map(|(name, _)| 20 + name.len() as u64).sum();
        at_most("a directory's names", names, (u32::MAX - 3).into())?;
        let listing = directory::write(&mut self.directories, entries)?;
        at_most("a directory's index", listing.index.len() as u64, u16::MAX.into())?;
        self.inode(InodeKind::Directory, attributes, &inode::directory(attributes, &listing, parent))
    }

    fn inode(&mut self, kind: InodeKind, attributes: InodeAttributes, bytes: &[u8]) -> Result<InodeRef, Error> {
        let position = self.inodes.position();
        self.inodes.write(bytes)?;
        self.count += 1;
        // Directories name inodes by 32 bits of place.
        at_most("an inode table", self.inodes.position().block, u32::MAX.into())?;
        at_most("a directory table", self.directories.position().block, u32::MAX.into())?;
        Ok(InodeRef { position, number: attributes.number, kind })
    }

    /// Writes the tables and the superblock; `time` is that of the file system. Gives the sink, which stands at the end,
    /// and the length, a multiple of 4096.
    pub fn finish(mut self, root: InodeRef, time: u32) -> Result<(W, u64), Error> {
        let inode_table = self.length;
        let (inodes, _) = self.inodes.finish()?;
        let directory_table = inode_table + inodes.len() as u64;
        let (directories, _) = self.directories.finish()?;
        let mut end = directory_table + directories.len() as u64;
        self.sink.write_all(&inodes)?;
        self.sink.write_all(&directories)?;

        let mut fragments = MetadataTable::new(self.compressor)?;
        for fragment in &self.fragments {
            fragments.write(&fragment.start.to_le_bytes())?;
            fragments.write(&fragment.size.to_le_bytes())?;
            fragments.write(&0u32.to_le_bytes())?;
        }
        let fragment_table = lookup(&mut self.sink, fragments, &mut end)?;
        let mut ids = MetadataTable::new(self.compressor)?;
        ids.write(&0u32.to_le_bytes())?;
        let id_table = lookup(&mut self.sink, ids, &mut end)?;

        let padded = end.next_multiple_of(PAGE);
        self.sink.write_all(&vec![0; (padded - end) as usize])?;
        let Position { block, offset } = root.position;
        let mut superblock = Vec::with_capacity(SUPERBLOCK as usize);
        for field in [MAGIC, self.count, time, BLOCK as u32, self.fragments.len() as u32] {
            superblock.extend_from_slice(&field.to_le_bytes());
        }
        // One id, and the version.
        for field in [self.compressor.id(), BLOCK.ilog2() as u16, FLAGS, 1, 4, 0] {
            superblock.extend_from_slice(&field.to_le_bytes());
        }
        let root = block << 16 | u64::from(offset);
        for field in [root, end, id_table, ABSENT, inode_table, directory_table, fragment_table, ABSENT] {
            superblock.extend_from_slice(&field.to_le_bytes());
        }
        self.sink.seek(SeekFrom::Start(self.base))?;
        self.sink.write_all(&superblock)?;
        self.sink.seek(SeekFrom::Start(self.base + padded))?;
        Ok((self.sink, padded))
    }
}

/// Writes a table that is looked up by number: its blocks, then where each of them is. Gives the place of the latter.
fn lookup(sink: &mut impl Write, table: MetadataTable, end: &mut u64) -> io::Result<u64> {
    let (bytes, blocks) = table.finish()?;
    sink.write_all(&bytes)?;
    for block in &blocks {
        sink.write_all(&(*end + block).to_le_bytes())?;
    }
    let place = *end + bytes.len() as u64;
    *end = place + 8 * blocks.len() as u64;
    Ok(place)
}

fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), Error> {
    if found > most { Err(Error::TooMuch { what, found, most }) } else { Ok(()) }
}
