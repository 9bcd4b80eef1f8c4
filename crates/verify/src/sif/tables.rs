//! Bytes of a squashfs: within the partition, decompressed within bounds.

use std::{collections::HashMap, fs::File, io::Read, os::unix::fs::FileExt};

use flate2::bufread::ZlibDecoder;
use oci_read::limits::SQUASHFS_TABLE;

/// A metadata block before compression.
const METADATA: usize = 8192;

#[derive(Clone, Copy)]
pub(super) enum Compression {
    Zlib,
    Zstd,
}

/// The file system's part of the file.
#[derive(Clone, Copy)]
pub(super) struct Partition<'a> {
    pub file: &'a File,
    pub at: u64,
    pub length: u64,
    pub compression: Compression,
}

impl Partition<'_> {
    pub(super) fn bytes(&self, at: u64, size: usize) -> Result<Vec<u8>, String> {
        if at.checked_add(size as u64).is_none_or(|end| end > self.length) {
            return Err(format!("{size} bytes at {at} are not in it"));
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.at + at).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// A block that becomes at most `most` bytes.
    pub(super) fn block(&self, at: u64, size: usize, stored: bool, most: usize) -> Result<Vec<u8>, String> {
        // A block that is compressed is never longer than what is in it.
        if size > most {
            return Err(format!("a block of {size} bytes at {at}, for {most}"));
        }
        let bytes = self.bytes(at, size)?;
        if stored {
            return Ok(bytes);
        }
        let bad = |error: std::io::Error| format!("the block at {at} cannot be decompressed: {error}");
        match self.compression {
            Compression::Zlib => {
                let mut out = Vec::new();
                let read = ZlibDecoder::new(&*bytes).take(most as u64 + 1).read_to_end(&mut out).map_err(bad)?;
                if read > most { Err(format!("the block at {at} becomes more than {most} bytes")) } else { Ok(out) }
            }
            Compression::Zstd => zstd::bulk::decompress(&bytes, most).map_err(bad),
        }
    }

    /// The metadata block at a place, and where the next one begins.
    fn metadata(&self, at: u64) -> Result<(Vec<u8>, u64), String> {
        let header = self.bytes(at, 2)?;
        let header = u16::from_le_bytes([header[0], header[1]]);
        let size = usize::from(header & 0x7fff);
        Ok((self.block(at + 2, size, header & 0x8000 != 0, METADATA)?, at + 2 + size as u64))
    }

    /// SifEntry `number` of a table whose blocks are looked up by number, of entries of `size` bytes.
    pub(super) fn lookup(&self, table: u64, number: u32, size: usize) -> Result<Vec<u8>, String> {
        let place = number as usize * size;
        let index = self.bytes(table + (place / METADATA * 8) as u64, 8)?;
        let (block, _) = self.metadata(u64::from_le_bytes(index.try_into().unwrap_or_default()))?;
        let at = place % METADATA;
        block.get(at..at + size).map(<[u8]>::to_vec).ok_or_else(|| format!("entry {number} of a table is not there"))
    }
}

/// A table, decompressed as a whole.
pub(super) struct UnpackedTable {
    bytes: Vec<u8>,
    /// Where each block's bytes are, by its place in the table.
    blocks: HashMap<u64, usize>,
}

impl UnpackedTable {
    pub(super) fn read(source: &Partition<'_>, from: u64, to: u64) -> Result<Self, String> {
        let mut table = Self { bytes: Vec::new(), blocks: HashMap::new() };
        let mut at = from;
        while at < to {
            let (block, next) = source.metadata(at)?;
            if block.is_empty() || table.bytes.len() + block.len() > SQUASHFS_TABLE {
                return Err(format!("its tables have an empty block, or more than {SQUASHFS_TABLE} bytes"));
            }
            table.blocks.insert(at - from, table.bytes.len());
            table.bytes.extend_from_slice(&block);
            at = next;
        }
        if at == to { Ok(table) } else { Err("a table does not end where the next one begins".into()) }
    }

    /// Reads from a block, and a place in it.
    pub(super) fn cursor(&self, block: u64, offset: u16) -> Result<Cursor<'_>, String> {
        let begin = self.blocks.get(&block).ok_or_else(|| format!("no block of a table begins at {block}"))?;
        self.bytes.get(begin + usize::from(offset)..).map(Cursor).ok_or_else(|| "a place behind a table's end".into())
    }
}

/// What is still to be read.
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (now, later) = self.0.split_at_checked(length).ok_or("a table ends inside an entry")?;
        self.0 = later;
        Ok(now)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|bytes| u16::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.take(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }
}
