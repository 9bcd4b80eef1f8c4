//! Threads that compress, and hand results back in the order of the work.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use crate::Compressor;

pub(crate) enum Block {
    Compressed(Vec<u8>),
    Stored(Vec<u8>),
}

struct BlockJob {
    bytes: Vec<u8>,
    done: Sender<io::Result<Block>>,
}

/// The threads, and the blocks that they have. `T` says what each block is for.
pub(crate) struct Workers<T> {
    jobs: Option<Sender<BlockJob>>,
    pending: VecDeque<(T, Receiver<io::Result<Block>>)>,
    limit: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<T> Workers<T> {
    pub(crate) fn new(compressor: Compressor, threads: NonZeroUsize) -> io::Result<Self> {
        let (jobs, queue) = channel::<BlockJob>();
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let (queue, mut open) = (queue.clone(), compressor.open()?);
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
            Builder::new().name("squashfs".into()).spawn(move || {
                while let Some(BlockJob { bytes, done }) = next() {
                    let compressed = open.compress(&bytes);
                    // It is not waited for any more when the writer has failed.
                    let _ = done.send(compressed.map(|block| block.map_or(Block::Stored(bytes), Block::Compressed)));
                }
            })
        };
        let threads: Vec<_> = (0..threads.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), pending: VecDeque::new(), limit: threads.len() * 8, threads })
    }

    pub(crate) fn push(&mut self, what: T, bytes: Vec<u8>) {
        let (done, result) = channel();
        if let Some(jobs) = &self.jobs {
            // If all threads have ended, the result says so.
            let _ = jobs.send(BlockJob { bytes, done });
        }
        self.pending.push_back((what, result));
    }

    /// Whether results have to be taken before there is more work.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= self.limit
    }

    /// The result of the oldest block; `None` if there is none.
    pub(crate) fn pop(&mut self) -> io::Result<Option<(T, Block)>> {
        let Some((what, result)) = self.pending.pop_front() else { return Ok(None) };
        let block = result.recv().map_err(|_| io::Error::other("a compressing thread has ended"))??;
        Ok(Some((what, block)))
    }
}

impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        self.jobs = None;
        self.threads.drain(..).for_each(|thread| {
            let _ = thread.join();
        });
    }
}
