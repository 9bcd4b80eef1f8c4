//! What is in one layer: read once, in the same pass that checks its diff id.

use std::{
    io::{self, BufReader, Read},
    path::Path,
    sync::Arc,
};

use oci_read::{
    Budget,
    tar::{self, Kind},
    tree::Whiteout,
    unpack::{Packing, Unpacked, unpack},
};
use pixi_oci_layer::{Compression, DiffId, Digest};
use pixi_oci_platform::{Links, open};
use serde::{Deserialize, Serialize};

use super::{glibc, glibc::Glibc};

/// What an item takes beside its names.
const ITEM: usize = 96;
/// Raised when a change makes older listings wrong; they are then made again.
const VERSION: u32 = 3;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    version: u32,
    tar: Digest,
    /// How the tar is compressed, whatever a media type says.
    pub packing: Packing,
    /// In the order of the tar.
    pub items: Vec<Item>,
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
        // Runtimes cannot give a file to a user that has no number of 32 bits; it is root's then.
        let id = |id: u64| u32::try_from(id).unwrap_or(0);
        let attributes = Self { mode: entry.mode & 0o1777, uid: id(entry.owner.0), gid: id(entry.owner.1) };
        (attributes != Self { mode: 0o755, uid: 0, gid: 0 }).then_some(attributes)
    }
}

impl Listing {
    pub(crate) fn is_current(&self) -> bool {
        self.version == VERSION
    }

    pub(crate) fn diff_id(&self) -> DiffId {
        DiffId(self.tar)
    }

    /// That of the same tar once it is compressed.
    pub(crate) fn compressed_by(self, compression: Compression) -> Self {
        let packing = match compression {
            Compression::Gzip { .. } => Packing::Gzip,
            Compression::Zstd { .. } => Packing::Zstd,
        };
        Self { packing, ..self }
    }

    /// Reads a layer, compressed or not, to its end.
    pub(crate) fn read(layer: &Path, budget: &Arc<Budget>) -> io::Result<Self> {
        let (packing, mut tar) = open_tar(layer, budget)?;
        // Buffered: the reader of the tar asks for single blocks.
        let items = read_items(&mut BufReader::with_capacity(64 << 10, &mut tar), budget)?;
        // The diff id is that of all bytes, also of those behind the end of the archive.
        let (sha256, _, _) = tar.finish()?;
        Ok(Self { version: VERSION, tar: Digest::from_bytes(sha256), packing, items })
    }
}

/// The tar of a layer, compressed or not.
pub(crate) fn open_tar(layer: &Path, budget: &Arc<Budget>) -> io::Result<(Packing, Unpacked<'static>)> {
    let file = open(layer, Links::Follow)?;
    let size = file.metadata()?.len();
    unpack(file, size, None, budget)
}

fn read_items(tar: &mut dyn Read, budget: &Budget) -> io::Result<Vec<Item>> {
    let mut reader = tar::Reader::new(tar);
    let mut items = Vec::new();
    let mut numbers = 0..=u32::MAX;
    while let Some(entry) = reader.next_entry()? {
        let number = numbers.next().ok_or_else(|| bad("it has more entries than any layer".into()))?;
        // In the cache it is JSON, where a control character takes six bytes.
        let controls = entry.path.iter().chain(entry.link().unwrap_or_default()).filter(|b| **b < b' ').count();
        budget.entries((ITEM + entry.names_len() + 5 * controls) as u64)?;
        let path = inside(&entry.path, entry.escapes)?;
        // Nobody can ask for a path that is not UTF-8, nor for one below it.
        let Ok(path) = String::from_utf8(path) else { continue };
        if let Some(whiteout) = Whiteout::of(path.as_bytes()) {
            items.extend(whiteout.map(Item::hiding));
            continue;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let action = match &entry.kind {
            Kind::Directory => Action::Directory(Attributes::of(&entry)),
            Kind::Symlink(target) => Action::Symlink(String::from_utf8_lossy(target).into_owned()),
            Kind::HardLink(target) => {
                let target = inside(target, tar::escapes(target))?;
                Action::HardLink(String::from_utf8_lossy(&target).into_owned())
            }
            Kind::File if glibc::is_candidate(name) && entry.size <= glibc::MAX_LIBC => {
                Action::File(glibc::read(&reader.read_content(glibc::MAX_LIBC)?))
            }
            Kind::File | Kind::Special(_) => Action::File(None),
        };
        items.push(Item { path, action, entry: number });
    }
    Ok(items)
}

impl Item {
    fn hiding(whiteout: Whiteout) -> Self {
        let (path, action) = match whiteout {
            Whiteout::Remove(path) => (path, Action::Remove),
            Whiteout::Empty(path) => (path, Action::Empty),
        };
        // A part of a path that was UTF-8.
        Self { path: String::from_utf8_lossy(&path).into_owned(), action, entry: 0 }
    }
}

/// A path of a tar, from the image's root. Absolute ones are taken as runtimes do; what leaves the root is refused.
fn inside(path: &[u8], escapes: bool) -> io::Result<Vec<u8>> {
    if escapes && path.split(|b| *b == b'/').any(|part| part == b"..") {
        let path = String::from_utf8_lossy(path).chars().take(200).collect::<String>();
        return Err(bad(format!("it has the path {path:?}")));
    }
    Ok(if escapes { tar::normalised(path) } else { path.into() }.into_vec())
}

fn bad(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
