//! Inodes, in their short form where that suffices.

use crate::{metadata::Position, run::FileData};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InodeAttributes {
    /// The twelve bits of chmod.
    pub mode: u16,
    pub time: u32,
    /// The inode's number. The numbers are those from 1 to how many inodes there are.
    pub number: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InodeRef {
    pub(crate) position: Position,
    pub(crate) number: u32,
    pub(crate) kind: InodeKind,
}

/// As directories name them; an inode's long form has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InodeKind {
    Directory = 1,
    File = 2,
    Symlink = 3,
}

const LONG_DIRECTORY: u16 = 8;
const LONG_FILE: u16 = 9;
/// No fragment, no extended attributes.
pub(crate) const NONE: u32 = u32::MAX;

pub(crate) struct DirectoryListing {
    pub position: Position,
    pub size: u32,
    /// Where blocks of the table begin in it: place in the listing, block, first name.
    pub index: Vec<(u32, u32, Box<[u8]>)>,
    pub directories: u32,
}

fn header(kind: u16, attributes: InodeAttributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    // Owner and group are the first and only entry of the id table.
    for field in [kind, attributes.mode, 0, 0] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    put(&mut bytes, [attributes.time, attributes.number]);
    bytes
}

fn put<const N: usize>(bytes: &mut Vec<u8>, fields: [u32; N]) {
    fields.iter().for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
}

pub(crate) fn file(attributes: InodeAttributes, data: &FileData, links: u32) -> Vec<u8> {
    let (fragment, offset) = data.tail.unwrap_or((NONE, 0));
    let short = (u32::try_from(data.start), u32::try_from(data.size));
    let mut bytes = match short {
        (Ok(start), Ok(size)) if links == 1 && data.sparse == 0 => {
            let mut bytes = header(InodeKind::File as u16, attributes);
            put(&mut bytes, [start, fragment, offset, size]);
            bytes
        }
        _ => {
            let mut bytes = header(LONG_FILE, attributes);
            for field in [data.start, data.size, data.sparse] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            put(&mut bytes, [links, fragment, offset, NONE]);
            bytes
        }
    };
    data.blocks.iter().for_each(|size| bytes.extend_from_slice(&size.to_le_bytes()));
    bytes
}

pub(crate) fn symlink(attributes: InodeAttributes, target: &[u8], links: u32) -> Vec<u8> {
    let mut bytes = header(InodeKind::Symlink as u16, attributes);
    put(&mut bytes, [links, target.len() as u32]);
    bytes.extend_from_slice(target);
    bytes
}

pub(crate) fn directory(attributes: InodeAttributes, listing: &DirectoryListing, parent: u32) -> Vec<u8> {
    // `.` and the parent's entry, and `..` of each directory in it.
    let links = 2 + listing.directories;
    let block = listing.position.block as u32;
    let offset = listing.position.offset;
    // As if it had `.` and `..`, three bytes in all.
    let size = listing.size + 3;
    match u16::try_from(size) {
        Ok(size) if listing.index.is_empty() => {
            let mut bytes = header(InodeKind::Directory as u16, attributes);
            put(&mut bytes, [block, links]);
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            put(&mut bytes, [parent]);
            bytes
        }
        _ => {
            let mut bytes = header(LONG_DIRECTORY, attributes);
            put(&mut bytes, [links, size, block, parent]);
            bytes.extend_from_slice(&(listing.index.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            put(&mut bytes, [NONE]);
            for (place, block, name) in &listing.index {
                put(&mut bytes, [*place, *block, name.len() as u32 - 1]);
                bytes.extend_from_slice(name);
            }
            bytes
        }
    }
}
