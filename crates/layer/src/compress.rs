//! Compression whose output depends on neither threads nor CPU.
//!
//! The tar is cut into pieces of a fixed size; each becomes one gzip member or one zstd frame, and the results stand
//! one after another, which RFC 1952 §2.2 and RFC 8878 §3 define as the concatenation of the contents. So the pieces
//! can be compressed in parallel, and how many threads did it cannot be seen.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    str::FromStr,
};

use rayon::prelude::*;

/// A compressor and its level. The level is part of a layer's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip by libdeflate, level 1 to 12.
    Gzip {
        /// 6 compresses as well as zlib's 6 to 7.
        level: u8,
    },
    /// zstd, level 1 to 19.
    Zstd {
        /// zstd's own scale.
        level: u8,
    },
}

/// The versions of the compressors' crates in `Cargo.lock`. The libraries cannot be asked for theirs.
const LIBDEFLATE: &str = "1.26.1";
const ZSTD: &str = "2.1.2+zstd.1.5.7";

impl Default for Compression {
    /// gzip level 6: every registry, scanner and runtime reads it.
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

impl Compression {
    /// The compressor with its version, and the level: `libdeflate 1.26.1 gzip:6`. Equal identities make equal bytes of
    /// equal tars.
    pub fn identity(self) -> String {
        match self {
            Self::Gzip { .. } => format!("libdeflate {LIBDEFLATE} {self}"),
            Self::Zstd { .. } => format!("zstd {ZSTD} {self}"),
        }
    }

    /// The bytes of tar in one gzip member or zstd frame. Part of the layer format.
    pub(crate) fn piece(self) -> usize {
        match self {
            // 0.1 % larger than one member, and enough pieces for all cores.
            Self::Gzip { .. } => 1 << 20,
            // zstd's window at level 3 is 2 MiB: smaller frames would lose matches.
            Self::Zstd { .. } => 4 << 20,
        }
    }
}

/// The text is not `gzip`, `zstd`, `gzip:LEVEL` or `zstd:LEVEL`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("compression {0:?} is none of gzip, gzip:1 … gzip:12, zstd, zstd:1 … zstd:19")]
pub struct ParseCompressionError(String);

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseCompressionError(text.into());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        match (name, level) {
            ("gzip", None) => Ok(Self::default()),
            ("gzip", Some(level @ 1..=12)) => Ok(Self::Gzip { level }),
            ("zstd", None) => Ok(Self::Zstd { level: 3 }),
            ("zstd", Some(level @ 1..=19)) => Ok(Self::Zstd { level }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

/// Compresses each piece by itself, on all threads of the current rayon pool; results in the order of the pieces.
pub(crate) fn compress_pieces(pieces: &[Vec<u8>], compression: Compression) -> io::Result<Vec<Vec<u8>>> {
    match compression {
        Compression::Gzip { level } => pieces.par_iter().map(|piece| gzip(level, piece)).collect(),
        Compression::Zstd { level } => {
            pieces.par_iter().map(|piece| zstd::bulk::compress(piece, level.into())).collect()
        }
    }
}

/// Compresses a stream in the same way as a layer, for base layers that come uncompressed.
pub fn compress(mut source: impl Read, sink: &mut dyn io::Write, compression: Compression) -> io::Result<()> {
    let mut any = false;
    loop {
        let mut pieces = Vec::new();
        while pieces.len() < rayon::current_num_threads() {
            let mut piece = Vec::with_capacity(compression.piece());
            source.by_ref().take(compression.piece() as u64).read_to_end(&mut piece)?;
            if piece.is_empty() && any {
                break;
            }
            any = true;
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return Ok(());
        }
        for compressed in compress_pieces(&pieces, compression)? {
            sink.write_all(&compressed)?;
        }
    }
}

/// A compressor and the room for what it makes.
struct Gzip {
    level: u8,
    compressor: libdeflater::Compressor,
    out: Vec<u8>,
}

thread_local! {
    /// Each has more than a megabyte, which costs as much as hashing does if every piece gets its own.
    static GZIP: Cell<Option<Gzip>> = const { Cell::new(None) };
}

fn gzip(level: u8, piece: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GZIP.take().filter(|kept| kept.level == level).unwrap_or_else(|| {
        // The level was checked when the `Compression` was parsed; an impossible one falls back to the default.
        let checked = libdeflater::CompressionLvl::new(level.into()).unwrap_or_default();
        Gzip { level, compressor: libdeflater::Compressor::new(checked), out: Vec::new() }
    });
    let most = gzip.compressor.gzip_compress_bound(piece.len());
    if gzip.out.len() < most {
        gzip.out.resize(most, 0);
    }
    let length = gzip.compressor.gzip_compress(piece, &mut gzip.out);
    let done = length.map(|length| gzip.out[..length].to_vec());
    GZIP.set(Some(gzip));
    done.map_err(|error| io::Error::other(format!("libdeflate: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compressors_are_those_of_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        for (name, version) in [("libdeflate-sys", LIBDEFLATE), ("zstd-sys", ZSTD)] {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "{name} is not {version} in Cargo.lock: say so here, and layer keys change");
        }
        assert_eq!(Compression::default().identity(), "libdeflate 1.26.1 gzip:6");
    }

    #[test]
    fn a_name_alone_has_the_level_that_is_usual() {
        assert_eq!("gzip".parse(), Ok(Compression::Gzip { level: 6 }));
        assert_eq!("zstd".parse(), Ok(Compression::Zstd { level: 3 }));
        for text in ["gzip:1", "gzip:12", "zstd:19"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        for text in ["gzip:0", "gzip:13", "zstd:20", "gzip:", "xz", ""] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }

    /// A thread keeps its compressor, which has one level.
    #[test]
    fn each_level_has_its_own_bytes_on_one_thread() {
        let piece: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let all = [1, 12, 1, 6, 12].map(|level| (level, gzip(level, &piece).unwrap()));
        for (level, bytes) in &all {
            let alone = std::thread::scope(|scope| scope.spawn(|| gzip(*level, &piece).unwrap()).join().unwrap());
            assert!(*bytes == alone, "level {level}");
        }
        assert!(all[0].1.len() > all[1].1.len());
    }
}
