//! Listings of directories. Entries whose inodes are near one another share a header.

use std::io;

use crate::{
    inode::{DirectoryListing, InodeKind, InodeRef},
    metadata::MetadataTable,
};

/// Entries of one header (`SQUASHFS_DIR_COUNT`).
const MAX_ENTRIES: usize = 256;

/// Writes a listing; `entries` are sorted by name.
pub(crate) fn write(table: &mut MetadataTable, entries: &[(&[u8], InodeRef)]) -> io::Result<DirectoryListing> {
    let directories = entries.iter().filter(|(_, inode)| inode.kind == InodeKind::Directory).count() as u32;
    let mut listing = DirectoryListing { position: table.position(), size: 0, index: Vec::new(), directories };
    let mut rest = entries;
    let mut last_block = listing.position.block;
    while let [(name, first), ..] = rest {
        let position = table.position();
        if position.block != last_block {
            // Lookups begin at the block that can have the name.
            listing.index.push((listing.size, position.block as u32, (*name).into()));
            last_block = position.block;
        }
        let run = run_length(rest, position.offset.into());
        let (now, later) = rest.split_at(run);
        let mut bytes = Vec::new();
        for field in [run as u32 - 1, first.position.block as u32, first.number] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for (name, inode) in now {
            bytes.extend_from_slice(&inode.position.offset.to_le_bytes());
            bytes.extend_from_slice(&(distance(first, inode).unwrap_or_default()).to_le_bytes());
            bytes.extend_from_slice(&(inode.kind as u16).to_le_bytes());
            bytes.extend_from_slice(&(name.len() as u16 - 1).to_le_bytes());
            bytes.extend_from_slice(name);
        }
        table.write(&bytes)?;
        listing.size += bytes.len() as u32;
        rest = later;
    }
    Ok(listing)
}

/// How many entries the next header can have. It ends with the first one that reaches into the next block of the table,
/// so that each block has a header from which a lookup can begin.
fn run_length(entries: &[(&[u8], InodeRef)], offset: usize) -> usize {
    let first = &entries[0].1;
    let mut end = offset + 12;
    let mut length = 0;
    for (name, inode) in entries.iter().take(MAX_ENTRIES) {
        let near = inode.position.block == first.position.block && distance(first, inode).is_some();
        if length > 0 && (!near || end >= crate::metadata::BLOCK) {
            break;
        }
        end += 8 + name.len();
        length += 1;
    }
    length
}

fn distance(from: &InodeRef, to: &InodeRef) -> Option<i16> {
    i16::try_from(i64::from(to.number) - i64::from(from.number)).ok()
}
