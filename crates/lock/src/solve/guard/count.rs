//! Counts what an answer has, and what that unpacks to.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// `repodata.json`, which goes to the disk. Those of conda-forge have half a gigabyte.
const REPODATA: Limit = Limit { received: 1 << 30, unpacked: 2 << 30 };
/// Everything else goes to memory: an index of shards, a shard, the page that says why there is none.
const OTHER: Limit = Limit { received: 16 << 20, unpacked: 64 << 20 };
/// Repodata is a tenth as long when it is compressed.
const MAX_RATIO: u64 = 32;
/// What may be unpacked however little it is of.
const ALWAYS: u64 = 16 << 20;

/// In bytes.
#[derive(Debug, Clone, Copy)]
struct Limit {
    received: u64,
    unpacked: u64,
}

pub(super) struct Counted {
    received: u64,
    limit: Limit,
    allowed: Arc<AtomicU64>,
    /// Keeps nothing of what it unpacks.
    unpack: Box<dyn Write + Send>,
}

impl Counted {
    /// Of what is at a path; compressed once more if it `is_gzip`.
    pub(super) fn new(path: &str, is_success: bool, is_gzip: bool) -> io::Result<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_repodata = ["repodata.json", "repodata.json.zst", "repodata.json.bz2"].contains(&name);
        let allowed = Arc::<AtomicU64>::default();
        let counter = Counter { unpacked: 0, allowed: allowed.clone() };
        let extension = name.rsplit('.').next().filter(|_| is_success);
        let unpack: Box<dyn Write + Send> = match extension {
            Some("zst") => Box::new(zstd::stream::write::Decoder::new(counter)?),
            Some("bz2") => Box::new(bzip2::write::BzDecoder::new(counter)),
            _ => Box::new(counter),
        };
        let unpack = if is_gzip { Box::new(flate2::write::GzDecoder::new(unpack)) } else { unpack };
        Ok(Self { received: 0, limit: if is_repodata && is_success { REPODATA } else { OTHER }, allowed, unpack })
    }

    /// # Errors
    ///
    /// It is too much, or nothing that can be unpacked.
    pub(super) fn count(&mut self, piece: &[u8]) -> io::Result<()> {
        self.received += piece.len() as u64;
        if self.received > self.limit.received {
            return Err(io::Error::other(format!("it has more than {} bytes", self.limit.received)));
        }
        let allowed = (self.received * MAX_RATIO + ALWAYS).min(self.limit.unpacked);
        self.allowed.store(allowed, Ordering::Relaxed);
        // What a decoder still holds back counts, too.
        self.unpack.write_all(piece).and_then(|()| self.unpack.flush()).map_err(|error| {
            let received = self.received;
            io::Error::new(error.kind(), format!("it cannot be unpacked after {received} bytes: {error}"))
        })
    }
}

struct Counter {
    unpacked: u64,
    allowed: Arc<AtomicU64>,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unpacked += bytes.len() as u64;
        let allowed = self.allowed.load(Ordering::Relaxed);
        if self.unpacked > allowed {
            return Err(io::Error::other(format!("they unpack to more than {allowed}")));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
