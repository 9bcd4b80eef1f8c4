//! Walks a squashfs 4.0 and reads every file in it.

use std::fs::File;

use oci_read::limits::{PATH, PATH_DEPTH, RATIO, SQUASHFS_NAMES, UNPACKED};
use sha2::{Digest as _, Sha256};

use super::{
    Entries, SifEntry, SifEntryKind,
    tables::{Compression, Cursor, Partition, UnpackedTable},
};

const SUPERBLOCK: usize = 96;
const NO_FRAGMENT: u32 = u32::MAX;
/// Set in a length whose block is not compressed.
const STORED: u32 = 1 << 24;

struct SquashfsWalk<'a> {
    source: Partition<'a>,
    block: usize,
    fragments: (u32, u64),
    inodes: UnpackedTable,
    directories: UnpackedTable,
    /// The last fragment that was read, because the next file is in it as well.
    fragment: Option<(u32, Vec<u8>)>,
    /// How many bytes of contents may still come.
    left: u64,
    names: usize,
    entries: Entries,
}

/// What is still to be listed.
struct Directory {
    path: Vec<u8>,
    block: u64,
    offset: u16,
    size: usize,
}

enum Inode {
    Directory(Directory),
    File(FileInode),
    Symlink(Box<[u8]>),
    Special,
}

struct FileInode {
    start: u64,
    size: u64,
    fragment: u32,
    offset: u32,
    blocks: Vec<u32>,
}

/// Everything in the file system at a place of a file; or what is wrong with it.
pub(super) fn walk(file: &File, (at, length): (u64, u64)) -> Result<Entries, String> {
    let mut source = Partition { file, at, length, compression: Compression::Zlib };
    let bytes = source.bytes(0, SUPERBLOCK)?;
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    if &bytes[..4] != b"hsqs" || (u16_at(28), u16_at(30)) != (4, 0) {
        return Err("it is no squashfs 4.0".into());
    }
    source.compression = match u16_at(20) {
        1 => Compression::Zlib,
        6 => Compression::Zstd,
        other => return Err(format!("its compression has the number {other}; expected 1 (zlib) or 6 (zstd)")),
    };
    let block = u32_at(12) as usize;
    if !block.is_power_of_two() || !(4096..=1 << 20).contains(&block) {
        return Err(format!("its blocks have {block} bytes"));
    }
    let [root, used, ids, inode_table, directory_table, fragments] = [32, 40, 48, 64, 72, 80].map(u64_at);
    if used > length {
        return Err(format!("it has {used} bytes; its partition has {length}"));
    }
    source.length = used;
    if u16_at(26) != 1 || source.lookup(ids, 0, 4)? != [0; 4] {
        return Err("not everything in it belongs to root".into());
    }
    // The directory table ends where the fragments' first block begins, or their index, or the ids'.
    let first = if u32_at(16) > 0 { fragments } else { ids };
    let end = source.bytes(first, 8)?;
    let end = u64::from_le_bytes(end.try_into().unwrap_or_default());
    let mut walk = SquashfsWalk {
        source,
        block,
        fragments: (u32_at(16), fragments),
        inodes: UnpackedTable::read(&source, inode_table, directory_table)?,
        directories: UnpackedTable::read(&source, directory_table, end)?,
        fragment: None,
        left: used.saturating_mul(RATIO).saturating_add(UNPACKED),
        names: 0,
        entries: Entries::new(),
    };
    walk.all(root)?;
    Ok(walk.entries)
}

impl SquashfsWalk<'_> {
    fn all(&mut self, root: u64) -> Result<(), String> {
        let (_, Inode::Directory(root)) = self.inode(root, Vec::new())? else {
            return Err("its root is no directory".into());
        };
        let mut pending = vec![root];
        while let Some(directory) = pending.pop() {
            for (name, inode) in self.listing(&directory)? {
                let path = if directory.path.is_empty() { name } else { [&*directory.path, b"/", &name].concat() };
                let depth = path.iter().filter(|byte| **byte == b'/').count();
                self.names += path.len();
                // Directories in a circle end here.
                if path.len() > PATH || depth > PATH_DEPTH || self.names > SQUASHFS_NAMES {
                    return Err("its paths are too long, or too many".into());
                }
                self.add(path, inode, &mut pending)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: Vec<u8>, inode: u64, pending: &mut Vec<Directory>) -> Result<(), String> {
        let (mode, inode) = self.inode(inode, path.clone())?;
        let kind = match inode {
            Inode::Directory(directory) => {
                pending.push(directory);
                SifEntryKind::Directory
            }
            Inode::File(file) => {
                let text = || String::from_utf8_lossy(&path).into_owned();
                SifEntryKind::File(self.content(&file).map_err(|error| format!("{:?}: {error}", text()))?)
            }
            Inode::Symlink(target) => SifEntryKind::Symlink(target),
            Inode::Special => SifEntryKind::Special,
        };
        match self.entries.insert(path, SifEntry { kind, mode }) {
            None => Ok(()),
            Some(_) => Err("a directory has a name twice".into()),
        }
    }

    /// The mode and the rest of an inode.
    fn inode(&self, place: u64, path: Vec<u8>) -> Result<(u16, Inode), String> {
        let mut cursor = self.inodes.cursor(place >> 16, place as u16)?;
        let [kind, mode, owner, group] = [cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?];
        if (owner, group) != (0, 0) {
            return Err("an owner that is not there".into());
        }
        // Time and number.
        cursor.take(8)?;
        let inode = match kind {
            1 => {
                let block = cursor.u32()?.into();
                cursor.take(4)?;
                let (size, offset) = (cursor.u16()?.into(), cursor.u16()?);
                Inode::Directory(Directory { path, block, offset, size })
            }
            8 => {
                cursor.take(4)?;
                let (size, block) = (cursor.u32()? as usize, cursor.u32()?.into());
                // The parent, and how many entries its index has.
                cursor.take(6)?;
                Inode::Directory(Directory { path, block, offset: cursor.u16()?, size })
            }
            2 => {
                let (start, fragment, offset, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?);
                Inode::File(self.file((start.into(), size.into()), (fragment, offset), &mut cursor)?)
            }
            9 => {
                let (start, size) = (cursor.u64()?, cursor.u64()?);
                // What is not stored, and the links.
                cursor.take(12)?;
                let (fragment, offset) = (cursor.u32()?, cursor.u32()?);
                cursor.take(4)?;
                Inode::File(self.file((start, size), (fragment, offset), &mut cursor)?)
            }
            3 | 10 => {
                cursor.take(4)?;
                let length = cursor.u32()? as usize;
                Inode::Symlink(cursor.take(length)?.into())
            }
            4..=7 | 11..=14 => Inode::Special,
            other => return Err(format!("an inode of the unknown type {other}")),
        };
        Ok((mode, inode))
    }

    fn file(
        &self,
        (start, size): (u64, u64),
        (fragment, offset): (u32, u32),
        cursor: &mut Cursor<'_>,
    ) -> Result<FileInode, String> {
        let block = self.block as u64;
        let count = if fragment == NO_FRAGMENT { size.div_ceil(block) } else { size / block };
        let count = usize::try_from(count).ok().and_then(|count| count.checked_mul(4)).ok_or("a file is too long")?;
        let sizes = cursor.take(count)?.chunks_exact(4);
        let blocks = sizes.map(|size| u32::from_le_bytes(size.try_into().unwrap_or_default())).collect();
        Ok(FileInode { start, size, fragment, offset, blocks })
    }

    /// Names and places of inodes.
    fn listing(&self, directory: &Directory) -> Result<Vec<(Vec<u8>, u64)>, String> {
        // `.` and `..`, which are not stored, count three.
        let Some(mut left) = directory.size.checked_sub(3).filter(|left| *left > 0) else { return Ok(Vec::new()) };
        let mut cursor = self.directories.cursor(directory.block, directory.offset)?;
        let mut found: Vec<(Vec<u8>, u64)> = Vec::new();
        while left > 0 {
            let (count, block) = (cursor.u32()?, u64::from(cursor.u32()?));
            cursor.take(4)?;
            left = left.checked_sub(12).ok_or("a directory ends inside a header")?;
            for _ in 0..=count {
                let offset = u64::from(cursor.u16()?);
                // The number's difference, and the type, which the inode has as well.
                cursor.take(4)?;
                let length = usize::from(cursor.u16()?) + 1;
                let name = cursor.take(length)?;
                left = left.checked_sub(8 + length).ok_or("a directory ends inside an entry")?;
                if name.contains(&b'/') || name.contains(&0) || matches!(name, b"." | b"..") {
                    return Err("a directory has a name that no file can have".into());
                }
                // Lookups rely on it.
                if found.last().is_some_and(|(last, _)| &**last >= name) {
                    return Err("the names of a directory are not sorted".into());
                }
                found.push((name.to_vec(), block << 16 | offset));
            }
        }
        Ok(found)
    }

    fn content(&mut self, file: &FileInode) -> Result<[u8; 32], String> {
        self.left = self.left.checked_sub(file.size).ok_or("its files have more bytes than it could unpack to")?;
        let mut sha256 = Sha256::new();
        let (mut at, mut left) = (file.start, file.size);
        for size in &file.blocks {
            let expected = left.min(self.block as u64) as usize;
            let stored = size & STORED != 0;
            let length = (size & !STORED) as usize;
            // A block of zeros is not stored.
            let bytes =
                if length == 0 { vec![0; expected] } else { self.source.block(at, length, stored, self.block)? };
            if bytes.len() != expected {
                return Err(format!("a block of {} bytes; expected {expected}", bytes.len()));
            }
            sha256.update(&bytes);
            at += length as u64;
            left -= expected as u64;
        }
        if left > 0 {
            let (offset, end) = (file.offset as usize, file.offset as usize + left as usize);
            let fragment = self.fragment(file.fragment)?;
            sha256.update(fragment.get(offset..end).ok_or("the end of a file is not in its fragment")?);
        }
        Ok(sha256.finalize().into())
    }

    fn fragment(&mut self, number: u32) -> Result<&[u8], String> {
        if self.fragment.as_ref().is_none_or(|(last, _)| *last != number) {
            let (count, table) = self.fragments;
            if number >= count {
                return Err(format!("fragment {number} of {count}"));
            }
            let entry = self.source.lookup(table, number, 16)?;
            let start = u64::from_le_bytes(entry[..8].try_into().unwrap_or_default());
            let size = u32::from_le_bytes(entry[8..12].try_into().unwrap_or_default());
            if entry[12..] != [0; 4] {
                return Err(format!("fragment {number} has an unknown field"));
            }
            let block = self.source.block(start, (size & !STORED) as usize, size & STORED != 0, self.block)?;
            self.fragment = Some((number, block));
        }
        Ok(self.fragment.as_ref().map(|(_, bytes)| &**bytes).unwrap_or_default())
    }
}
