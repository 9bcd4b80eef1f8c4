//! What is in one layer: read once, in the same pass that checks its diff id.

use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use pixi_oci_image::MediaType;
use pixi_oci_layer::{Compression, DiffId, Digest, DigestWriter};
use pixi_oci_platform::{Links, open};
use serde::{Deserialize, Serialize};

use super::{glibc, glibc::Glibc, tar};

/// A layer that unpacks to more is not read to its end: it is a bomb, or no base image.
const MAX_UNPACKED: u64 = 256 << 30;
/// All paths and targets of one layer together. The largest images have some hundred thousand files.
const MAX_NAMES: u64 = 256 << 20;
/// Raised when a change makes older listings wrong; they are then made again.
const VERSION: u32 = 2;

/// What is in a layer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    version: u32,
    /// Of the tar.
    tar: Digest,
    /// How the tar is compressed, whatever a media type says.
    pub compression: Compressed,
    /// In the order of the tar.
    pub items: Vec<Item>,
}

/// The compression of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Compressed {
    No,
    Gzip,
    Zstd,
}

impl Compressed {
    /// The OCI media type of a layer.
    pub(crate) fn media_type(self) -> MediaType {
        match self {
            Self::No => MediaType::ImageLayer,
            Self::Gzip => MediaType::ImageLayerGzip,
            Self::Zstd => MediaType::ImageLayerZstd,
        }
    }

    /// By the first bytes: RFC 1952 §2.3.1; RFC 8878 §3.1, whose skippable frames may come first (zstd:chunked).
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::No,
        }
    }
}

/// What one entry of a layer does.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// From the image's root, without `.` and doubled or final slashes; empty for the root.
    pub path: String,
    pub action: Action,
    /// Which entry of the tar it is. Only of a listing that was read just now.
    #[serde(skip)]
    pub entry: u32,
}

/// What an entry does at its path.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// With what it has that others have not, if anything.
    Directory(Option<Attributes>),
    File(Option<Glibc>),
    Symlink(String),
    /// To this path, which is written as an item's.
    HardLink(String),
    /// Removes what lower layers have at the path (OCI image-spec, layer.md, "Whiteouts").
    Remove,
    /// Removes what lower layers have in the directory ("Opaque Whiteout").
    Empty,
}

/// Permissions and owner of a directory. Set-id bits are left out: nothing of ours has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Attributes {
    fn of(entry: &tar::Entry) -> Option<Self> {
        let (uid, gid) = entry.owner;
        let attributes = Self { mode: entry.mode & 0o1777, uid, gid };
        (attributes != Self { mode: 0o755, uid: 0, gid: 0 }).then_some(attributes)
    }
}

impl Listing {
    /// Whether a cached listing can be used.
    pub(crate) fn is_current(&self) -> bool {
        self.version == VERSION
    }

    /// The digest of the tar.
    pub(crate) fn diff_id(&self) -> DiffId {
        DiffId(self.tar)
    }

    /// That of the same tar once it is compressed.
    pub(crate) fn compressed_by(self, compression: Compression) -> Self {
        let compression = match compression {
            Compression::Gzip { .. } => Compressed::Gzip,
            Compression::Zstd { .. } => Compressed::Zstd,
        };
        Self { compression, ..self }
    }

    /// Reads a layer, compressed or not, to its end.
    pub(crate) fn read(layer: &Path) -> io::Result<Self> {
        let (compression, tar) = open_tar(layer)?;
        let mut hashed = HashReader { source: tar, digest: DigestWriter::new(io::sink()), left: MAX_UNPACKED };
        // Buffered: the reader of the tar asks for single blocks.
        let items = read_items(&mut BufReader::with_capacity(64 << 10, &mut hashed))?;
        // The diff id is that of all bytes, also of those behind the end of the archive.
        io::copy(&mut hashed, &mut io::sink())?;
        let (digest, _, _) = hashed.digest.finish();
        Ok(Self { version: VERSION, tar: digest, compression, items })
    }
}

/// The tar of a layer, compressed or not.
pub(crate) fn open_tar(layer: &Path) -> io::Result<(Compressed, Box<dyn Read>)> {
    let mut file = open(layer, Links::Follow)?;
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    let compression = Compressed::of(&start);
    let whole = BufReader::with_capacity(128 << 10, io::Cursor::new(start).chain(file));
    let tar: Box<dyn Read> = match compression {
        Compressed::No => Box::new(whole),
        Compressed::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compressed::Zstd => Box::new(zstd::Decoder::with_buffer(whole)?),
    };
    Ok((compression, tar))
}

fn read_items(tar: &mut dyn Read) -> io::Result<Vec<Item>> {
    let mut reader = tar::Reader::new(tar);
    let mut items = Vec::new();
    let mut names = 0;
    let mut numbers = 0..=u32::MAX;
    while let Some(entry) = reader.next_entry()? {
        let number = numbers.next().ok_or_else(|| bad("it has more entries than any layer".into()))?;
        names += (entry.path.len() + entry.target.len() + size_of::<Item>()) as u64;
        if names > MAX_NAMES {
            return Err(bad(format!("its paths have more than {MAX_NAMES} bytes")));
        }
        // Nobody can ask for a path that is not UTF-8, nor for one below it.
        let Ok(path) = std::str::from_utf8(&entry.path) else { continue };
        let path = normalised(path)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        if let Some(hidden) = name.strip_prefix(".wh.") {
            items.extend(whiteout(&path, hidden));
            continue;
        }
        let action = match entry.kind {
            tar::Kind::Directory => Action::Directory(Attributes::of(&entry)),
            tar::Kind::Symlink => Action::Symlink(String::from_utf8_lossy(&entry.target).into_owned()),
            tar::Kind::HardLink => Action::HardLink(normalised(&String::from_utf8_lossy(&entry.target))?),
            tar::Kind::File if glibc::is_candidate(name) && entry.size <= glibc::MAX_LIBC => {
                Action::File(glibc::read(&reader.read_content()?))
            }
            tar::Kind::File => Action::File(None),
        };
        items.push(Item { path, action, entry: number });
    }
    Ok(items)
}

fn whiteout(path: &str, hidden: &str) -> Option<Item> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    match hidden {
        ".wh..opq" => Some(Item { path: parent.to_owned(), action: Action::Empty, entry: 0 }),
        // AUFS's own files, which never were in an image's tree.
        "" | "." | ".." => None,
        aufs if aufs.starts_with(".wh.") => None,
        hidden if parent.is_empty() => Some(Item { path: hidden.to_owned(), action: Action::Remove, entry: 0 }),
        hidden => Some(Item { path: format!("{parent}/{hidden}"), action: Action::Remove, entry: 0 }),
    }
}

/// A path of a tar, from the image's root. Absolute ones are taken as runtimes do; what leaves the root is refused.
fn normalised(path: &str) -> io::Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(bad(format!("it has the path {:?}", path.chars().take(200).collect::<String>())));
    }
    Ok(parts.join("/"))
}

/// Hashes what is read through it.
struct HashReader<R> {
    source: R,
    digest: DigestWriter<io::Sink>,
    left: u64,
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.left = self
            .left
            .checked_sub(n as u64)
            .ok_or_else(|| bad(format!("it unpacks to more than {MAX_UNPACKED} bytes")))?;
        io::Write::write_all(&mut self.digest, &buffer[..n])?;
        Ok(n)
    }
}

fn bad(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
