//! What is in each layer: paths, kinds, modes and times. Layers are checked against their digests on the way.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
    sync::Arc,
};

use oci_read::{
    Budget, HashReader,
    document::ImageConfig,
    tar::{self, Kind},
    unpack::{Unpacked, unpack},
};
use rayon::prelude::*;

use crate::{Error, Layer, LayeredImage};

/// Files whose contents `apptainer inspect` shows.
pub(crate) const KEPT: [&str; 2] = [".singularity.d/env/91-pixi-oci.sh", ".singularity.d/test"];
const MAX_KEPT: u64 = 1 << 20;

/// What an item takes beside its names.
const ITEM: usize = 64;

/// What is in a layer, in the order of its tar.
pub(crate) struct LayerPaths {
    pub items: Vec<LayerItem>,
    /// The contents of [`KEPT`].
    pub kept: BTreeMap<&'static str, Vec<u8>>,
}

pub(crate) struct LayerItem {
    pub path: Box<[u8]>,
    pub kind: Kind,
    pub mode: u16,
    pub time: u32,
}

pub(crate) fn read_all(image: &LayeredImage<'_>, config: &ImageConfig) -> Result<Vec<LayerPaths>, Error> {
    let budget = Arc::new(Budget::default());
    if config.rootfs.diff_ids.len() != image.layers.len() {
        return Err(Error::Config("it does not have one diff id for each layer".into()));
    }
    let pairs: Vec<_> = image.layers.iter().zip(&config.rootfs.diff_ids).collect();
    let read = |(layer, diff_id): &(&Layer, &String)| {
        read_one(layer, diff_id, &budget).map_err(|source| Error::Layer { layer: layer.digest, source })
    };
    pairs.par_iter().map(read).collect()
}

fn read_one(layer: &Layer, diff_id: &str, budget: &Arc<Budget>) -> io::Result<LayerPaths> {
    let mut blob = HashReader::new(layer.read());
    let (_, mut tar) = unpack(&mut blob, layer.size, None, budget)?;
    let listing = items(&mut BufReader::with_capacity(64 << 10, &mut tar), budget)?;
    let (sha256, ..) = tar.finish()?;
    io::copy(&mut blob, &mut io::sink())?;
    let (blob, _) = blob.finish();
    let bad = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    if format!("sha256:{}", hex::encode(blob)) != layer.digest.to_string() {
        return bad("its bytes are not those of its digest");
    }
    if format!("sha256:{}", hex::encode(sha256)) != diff_id {
        return bad("its tar is not that of its diff id");
    }
    Ok(listing)
}

fn items(tar: &mut impl Read, budget: &Budget) -> io::Result<LayerPaths> {
    let mut reader = tar::Reader::new(tar);
    let mut listing = LayerPaths { items: Vec::new(), kept: BTreeMap::new() };
    while let Some(entry) = reader.next_entry()? {
        if entry.escapes {
            let path = crate::error::text(&entry.path);
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} leaves the image")));
        }
        budget.entries((ITEM + entry.names_len()) as u64)?;
        let kept = KEPT.into_iter().find(|path| path.as_bytes() == &*entry.path);
        if let Some(path) = kept.filter(|_| entry.kind == Kind::File && entry.size <= MAX_KEPT) {
            listing.kept.insert(path, reader.read_content(MAX_KEPT)?);
        }
        let time = entry.time.try_into().unwrap_or(u32::MAX);
        listing.items.push(LayerItem { mode: mode(&entry), path: entry.path, kind: entry.kind, time });
    }
    Ok(listing)
}

/// The mode that a file has when it becomes root's: as with chown(2), it does not run with other rights than before.
fn mode(entry: &tar::Entry) -> u16 {
    let mut mode = entry.mode & 0o7777;
    if entry.kind != Kind::Directory {
        mode &= if entry.owner.0 == 0 { 0o7777 } else { 0o3777 };
        mode &= if entry.owner.1 == 0 { 0o7777 } else { 0o5777 };
    }
    mode as u16
}

pub(crate) fn open(layer: &Layer) -> io::Result<Unpacked<'_>> {
    unpack(layer.read(), layer.size, None, &Arc::default()).map(|(_, tar)| tar)
}
