//! The contents of files, one after another: blocks of their own, and fragments, which are blocks of many files' ends.

use std::{
    io::{self, Read, Write},
    num::NonZeroUsize,
};

use serde::{Deserialize, Serialize};

use crate::{
    BLOCK, Compressor,
    workers::{Block, Workers},
};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileData {
    pub(crate) size: u64,
    pub(crate) start: u64,
    /// The stored length of each block, as it stands in the inode.
    pub(crate) blocks: Vec<u32>,
    /// The fragment that has the end, and the place in it.
    pub(crate) tail: Option<(u32, u32)>,
    /// Bytes of blocks that are all zeros and are not stored.
    pub(crate) sparse: u64,
}

/// A fragment: where it is, and its stored length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fragment {
    pub start: u64,
    pub size: u32,
}

/// What a [`RunWriter`] wrote. Places are from where it began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRun {
    pub files: Vec<FileData>,
    pub(crate) fragments: Vec<Fragment>,
    pub length: u64,
}

/// Set in a length whose block is not compressed (`SQUASHFS_COMPRESSED_BIT_BLOCK`).
const STORED: u32 = 1 << 24;

enum What {
    /// The file and its block.
    File(usize, usize),
    Fragment,
}

pub struct RunWriter<W> {
    sink: W,
    workers: Workers<What>,
    run: ContentRun,
    ends: Vec<u8>,
    /// How many fragments were handed to the workers.
    fragments: u32,
}

impl<W: Write> RunWriter<W> {
    pub fn new(sink: W, compressor: Compressor, threads: NonZeroUsize) -> io::Result<Self> {
        let workers = Workers::new(compressor, threads)?;
        Ok(Self { sink, workers, run: ContentRun::default(), ends: Vec::with_capacity(BLOCK), fragments: 0 })
    }

    pub fn file(&mut self, mut source: impl Read, size: u64) -> io::Result<()> {
        let number = self.run.files.len();
        self.run.files.push(FileData { size, ..FileData::default() });
        let mut left = size;
        while left >= BLOCK as u64 {
            let mut block = vec![0; BLOCK];
            source.read_exact(&mut block)?;
            left -= BLOCK as u64;
            let file = &mut self.run.files[number];
            // What a block of zeros keeps; the others get their lengths when they are written.
            file.blocks.push(0);
            if block.iter().all(|byte| *byte == 0) {
                file.sparse += BLOCK as u64;
            } else {
                let index = file.blocks.len() - 1;
                self.push(What::File(number, index), block)?;
            }
        }
        let end = left as usize;
        if end > 0 {
            if self.ends.len() + end > BLOCK {
                self.end_fragment()?;
            }
            let at = self.ends.len();
            self.run.files[number].tail = Some((self.fragments, at as u32));
            self.ends.resize(at + end, 0);
            source.read_exact(&mut self.ends[at..])?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<ContentRun> {
        self.end_fragment()?;
        while self.pop()? {}
        Ok(self.run)
    }

    fn end_fragment(&mut self) -> io::Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        self.fragments += 1;
        let block = std::mem::replace(&mut self.ends, Vec::with_capacity(BLOCK));
        self.push(What::Fragment, block)
    }

    fn push(&mut self, what: What, block: Vec<u8>) -> io::Result<()> {
        while self.workers.is_full() {
            self.pop()?;
        }
        self.workers.push(what, block);
        Ok(())
    }

    /// Writes the oldest block; `false` if there is none.
    fn pop(&mut self) -> io::Result<bool> {
        let Some((what, block)) = self.workers.pop()? else { return Ok(false) };
        let (bytes, flag) = match block {
            Block::Compressed(bytes) => (bytes, 0),
            Block::Stored(bytes) => (bytes, STORED),
        };
        let start = self.run.length;
        let size = bytes.len() as u32 | flag;
        match what {
            What::Fragment => self.run.fragments.push(Fragment { start, size }),
            What::File(number, index) => {
                let file = &mut self.run.files[number];
                if file.blocks[..index].iter().all(|size| *size == 0) {
                    file.start = start;
                }
                file.blocks[index] = size;
            }
        }
        self.sink.write_all(&bytes)?;
        self.run.length += bytes.len() as u64;
        Ok(true)
    }
}
