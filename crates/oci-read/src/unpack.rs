//! Layers are decompressed within bounds, and what a decompressor would pass over in silence is counted.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
};

use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};

use crate::{
    hash::HashReader,
    limits::{self, Budget, bad},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// What a media type of a layer ends with. The non-distributable ones differ in name only.
const OCI_LAYER: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.", "application/vnd.oci.image.layer.nondistributable.v1."];
const DOCKER_LAYERS: [(&str, Packing); 3] = [
    ("application/vnd.docker.image.rootfs.diff.tar", Packing::Plain),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Packing::Gzip),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Packing::Gzip),
];

impl Packing {
    /// What a media type of OCI says (OCI image-spec, layer.md).
    pub fn of_oci(media_type: &str) -> Option<Self> {
        match OCI_LAYER.iter().find_map(|prefix| media_type.strip_prefix(prefix))? {
            "tar" => Some(Self::Plain),
            "tar+gzip" => Some(Self::Gzip),
            "tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The same, and for Docker's. What the bytes are is seen from them: skopeo's docker-archive says gzip of plain tars.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let docker = || DOCKER_LAYERS.into_iter().find(|(name, _)| *name == media_type).map(|(_, packing)| packing);
        Self::of_oci(media_type).or_else(docker)
    }

    /// By the first bytes: RFC 1952 §2.3.1; RFC 8878 §3.1, whose skippable frames may come first (zstd:chunked).
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Bytes of a layer's blob that are in no tar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    /// gzip members with an extra field, a name or a comment.
    pub fields: u64,
    /// gzip members and zstd frames with nothing in them.
    pub empty: u64,
    /// Skippable frames of zstd.
    pub skipped: u64,
}

/// The tar of a layer, hashed as it is read.
pub struct Unpacked<'a>(HashReader<Bounded<'a>>);

/// Decompresses a blob of `size` bytes. Without `packing` the first bytes say what it is.
pub fn unpack<'a>(
    blob: impl Read + 'a,
    size: u64,
    packing: Option<Packing>,
    budget: &Arc<Budget>,
) -> io::Result<(Packing, Unpacked<'a>)> {
    let mut blob = BufReader::with_capacity(128 << 10, blob);
    let packing = match packing {
        Some(packing) => packing,
        None => Packing::of(blob.fill_buf()?),
    };
    let source =
        PackedBlob { blob: Box::new(blob), packing, part: Decoder::None, hidden: Hidden::default(), any: false };
    let bounded = Bounded { source, left: size.saturating_mul(limits::RATIO), budget: budget.clone() };
    Ok((packing, Unpacked(HashReader::new(bounded))))
}

impl Unpacked<'_> {
    /// Reads what is left; gives the SHA-256 and length of the tar, and what was hidden in the blob.
    pub fn finish(mut self) -> io::Result<([u8; 32], u64, Hidden)> {
        io::copy(&mut self.0, &mut io::sink())?;
        let hidden = self.0.inner().source.hidden;
        let (sha256, length) = self.0.finish();
        Ok((sha256, length, hidden))
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

struct Bounded<'a> {
    source: PackedBlob<'a>,
    left: u64,
    budget: Arc<Budget>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)? as u64;
        if n > self.left && !self.budget.unpacked(n - self.left) {
            let (ratio, more) = (limits::RATIO, limits::UNPACKED);
            return Err(bad(format!("it unpacks to more than {ratio} times its size and {more} bytes")));
        }
        self.left = self.left.saturating_sub(n);
        Ok(n as usize)
    }
}

type Blob<'a> = Box<dyn BufRead + 'a>;

/// A blob whose members and frames stand one after another (RFC 1952 §2.2, RFC 8878 §3).
struct PackedBlob<'a> {
    blob: Blob<'a>,
    packing: Packing,
    part: Decoder<'a>,
    hidden: Hidden,
    /// The part that is read has given some bytes.
    any: bool,
}

enum Decoder<'a> {
    None,
    Gzip(Box<GzDecoder<Blob<'a>>>),
    Zstd(zstd::Decoder<'static, Blob<'a>>),
}

impl<'a> PackedBlob<'a> {
    /// Begins the next member or frame; `false` at the end of the blob.
    fn next_part(&mut self) -> io::Result<bool> {
        let start = self.blob.fill_buf()?;
        if start.is_empty() {
            return Ok(false);
        }
        self.any = false;
        if self.packing == Packing::Zstd && matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
            self.hidden.skipped += 1;
            let mut header = [0; 8];
            self.blob.read_exact(&mut header)?;
            let length = u64::from(u32::from_le_bytes([header[4], header[5], header[6], header[7]]));
            let skipped = io::copy(&mut self.blob.by_ref().take(length), &mut io::sink())?;
            return if skipped == length { Ok(true) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let blob = std::mem::replace(&mut self.blob, Box::new(io::empty()));
        self.part = match self.packing {
            Packing::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(blob)?.single_frame()),
            _ => Decoder::Gzip(Box::new(GzDecoder::new(blob))),
        };
        Ok(true)
    }

    /// Gives the blob back to where the next member or frame begins.
    fn end_part(&mut self) {
        self.hidden.empty += u64::from(!self.any);
        self.blob = match std::mem::replace(&mut self.part, Decoder::None) {
            Decoder::None => return,
            Decoder::Gzip(decoder) => {
                let named = |header: &flate2::GzHeader| {
                    header.extra().is_some() || header.filename().is_some() || header.comment().is_some()
                };
                self.hidden.fields += u64::from(decoder.header().is_some_and(named));
                decoder.into_inner()
            }
            Decoder::Zstd(decoder) => decoder.finish(),
        };
    }
}

impl Read for PackedBlob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.packing == Packing::Plain || buffer.is_empty() {
            return self.blob.read(buffer);
        }
        loop {
            let n = match &mut self.part {
                Decoder::None => match self.next_part()? {
                    true => continue,
                    false => return Ok(0),
                },
                Decoder::Gzip(decoder) => decoder.read(buffer)?,
                Decoder::Zstd(decoder) => decoder.read(buffer)?,
            };
            if n > 0 {
                self.any = true;
                return Ok(n);
            }
            self.end_part();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(blob: &[u8]) -> io::Result<(Packing, Vec<u8>, Hidden)> {
        let budget = Arc::default();
        let (packing, mut unpacked) = unpack(blob, blob.len() as u64, None, &budget)?;
        let mut bytes = Vec::new();
        unpacked.read_to_end(&mut bytes)?;
        let (_, length, hidden) = unpacked.finish()?;
        assert_eq!(length, bytes.len() as u64);
        Ok((packing, bytes, hidden))
    }

    #[test]
    fn members_and_frames_are_one_tar() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let none = Hidden::default();
        assert_eq!(read(b"plain").unwrap(), (Packing::Plain, b"plain".to_vec(), none));
        assert_eq!(read(&[gzip(b"a"), gzip(b"b")].concat()).unwrap(), (Packing::Gzip, b"ab".to_vec(), none));
        assert_eq!(read(&[zstd(b"a"), zstd(b"b")].concat()).unwrap(), (Packing::Zstd, b"ab".to_vec(), none));
        assert_eq!(read(b"").unwrap().1, b"");
    }

    #[test]
    fn what_is_in_no_tar_is_counted() {
        let mut extra = GzBuilder::new().extra(b"evil".to_vec()).write(Vec::new(), Compression::fast());
        extra.write_all(b"a").unwrap();
        let blob = [extra.finish().unwrap(), gzip(b""), gzip(b"b"), gzip(b"")].concat();
        assert_eq!(read(&blob).unwrap().2, Hidden { fields: 1, empty: 2, skipped: 0 });
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"evil"].concat();
        let blob = [skippable.clone(), zstd::encode_all(&b"a"[..], 1).unwrap(), skippable].concat();
        assert_eq!(read(&blob).unwrap(), (Packing::Zstd, b"a".to_vec(), Hidden { fields: 0, empty: 0, skipped: 2 }));
    }

    #[test]
    fn damage_is_an_error() {
        let whole = gzip(b"a");
        for bad in [&whole[..whole.len() - 4], &[&whole[..], b"garbage"].concat(), b"\x1f\x8b", b"\x28\xb5\x2f\xfd"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0]).is_err());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        io::copy(&mut io::repeat(0).take(400 << 20), &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        let budget = Arc::default();
        let finish = || unpack(&*bomb, bomb.len() as u64, None, &budget).unwrap().1.finish();
        assert!(finish().unwrap_err().to_string().contains("unpacks to more than"));
        // All layers of an image have one budget: after one bomb, what is within the ratio is still read.
        let honest = gzip(&vec![0; 1 << 20]);
        assert_eq!(unpack(&*honest, honest.len() as u64, None, &budget).unwrap().1.finish().unwrap().1, 1 << 20);
    }
}
