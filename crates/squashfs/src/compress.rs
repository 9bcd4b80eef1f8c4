//! The two compressors.

use std::io;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// zlib by libdeflate, level 1 to 12. Every kernel and every squashfuse reads it.
    Zlib { level: u8 },
    /// zstd, level 1 to 22. Kernel 4.14 and squashfuse 0.1.101 read it.
    Zstd { level: u8 },
}

impl Compressor {
    /// The number in the superblock.
    pub(crate) fn id(self) -> u16 {
        match self {
            Self::Zlib { .. } => 1,
            Self::Zstd { .. } => 6,
        }
    }

    pub(crate) fn open(self) -> io::Result<Open> {
        match self {
            Self::Zlib { level } => {
                let level = libdeflater::CompressionLvl::new(level.into())
                    .map_err(|_| io::Error::other(format!("zlib has no level {level}")))?;
                Ok(Open::Zlib(libdeflater::Compressor::new(level)))
            }
            Self::Zstd { level } => zstd::bulk::Compressor::new(level.into()).map(Open::Zstd),
        }
    }
}

/// A compressor with its memory, for one thread.
pub(crate) enum Open {
    Zlib(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Open {
    /// The compressed bytes; `None` where they would not be fewer.
    pub(crate) fn compress(&mut self, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        // One byte less than there is room for: what does not fit is stored as it is.
        let mut out = vec![0; bytes.len().saturating_sub(1)];
        let length = match self {
            Self::Zlib(compressor) => match compressor.zlib_compress(bytes, &mut out) {
                Ok(length) => length,
                Err(libdeflater::CompressionError::InsufficientSpace) => return Ok(None),
            },
            // zstd does not tell its errors apart; with the room it asks for there is only the one of memory.
            Self::Zstd(compressor) => {
                out = compressor.compress(bytes)?;
                if out.len() >= bytes.len() {
                    return Ok(None);
                }
                out.len()
            }
        };
        out.truncate(length);
        Ok(Some(out))
    }
}
