//! Tables: their bytes are cut into blocks of 8 KiB, each compressed by itself with its length before it.

use std::io;

use crate::{Compressor, compress::Open};

/// The length of a block before compression (`SQUASHFS_METADATA_SIZE`).
pub(crate) const BLOCK: usize = 8192;
/// Set in a length whose block is not compressed.
const STORED: u16 = 1 << 15;

/// Where something in a table is: the block's place in the table, and the place in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub block: u64,
    pub offset: u16,
}

pub(crate) struct MetadataTable {
    compressor: Open,
    bytes: Vec<u8>,
    block: Vec<u8>,
    pub(crate) blocks: Vec<u64>,
}

impl MetadataTable {
    pub(crate) fn new(compressor: Compressor) -> io::Result<Self> {
        Ok(Self { compressor: compressor.open()?, bytes: Vec::new(), block: Vec::new(), blocks: Vec::new() })
    }

    /// Where the next byte will be.
    pub(crate) fn position(&self) -> Position {
        Position { block: self.bytes.len() as u64, offset: self.block.len() as u16 }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            // At once, so that a position is never behind the end of a block.
            if self.block.len() == BLOCK {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.blocks.push(self.bytes.len() as u64);
        let compressed = self.compressor.compress(&self.block)?;
        let (bytes, flag) = compressed.as_ref().map_or((&self.block, STORED), |bytes| (bytes, 0));
        self.bytes.extend_from_slice(&(bytes.len() as u16 | flag).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
        self.block.clear();
        Ok(())
    }

    /// All blocks, and where each begins.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<u8>, Vec<u64>)> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        Ok((self.bytes, self.blocks))
    }
}
