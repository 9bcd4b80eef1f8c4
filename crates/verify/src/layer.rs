//! Layers: each blob once, its digest, then what is inside.

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufReader, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use flate2::bufread::MultiGzDecoder;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::{
    LayerReport, accounts,
    blob::{self, HashReader},
    document::{Descriptor, Key},
    layout::Image,
    peek::MAX_FILE,
    report::{Findings, Rule, Severity, printable},
    tar::{self, Entry, Kind},
};

/// Layers that could be read.
pub(crate) type Layers = HashMap<Key, Layer>;

/// One layer, as it was read.
pub(crate) struct Layer {
    pub report: LayerReport,
    /// In the order of the tar, without those that leave the image.
    pub entries: Vec<Entry>,
    /// What files are accounted for by, in a layer of ours.
    pub documents: Documents,
}

/// Contents of files by path.
pub(crate) type Documents = HashMap<Box<[u8]>, Vec<u8>>;

/// Memory for all tar entries of all layers together.
const MAX_ENTRY_BYTES: u64 = 512 << 20;
/// What an entry needs beside its names, in a list, a set and a map.
const ENTRY_BYTES: u64 = 300;
/// gzip cannot do better than 1 : 1032, so only a zstd bomb is affected; small layers may be anything.
const MAX_RATIO: u64 = 1100;
const ALWAYS_ALLOWED: u64 = 256 << 20;

/// A layer to be read, and whether it is above the base in some image.
type Task<'a> = (&'a Descriptor, bool);

/// Reads each layer of all images once.
pub(crate) fn read_layers(dir: &Path, images: &[Image], findings: &mut Findings) -> Layers {
    let memory = AtomicU64::new(MAX_ENTRY_BYTES);
    let read: Vec<_> = tasks(images)
        .into_par_iter()
        .map(|(descriptor, ours)| {
            let mut findings = Findings::default();
            let layer = read_layer(dir, descriptor, ours, &memory, &mut findings);
            (descriptor.key(), layer, findings)
        })
        .collect();
    let mut layers = Layers::new();
    for (key, layer, found) in read {
        findings.append(found);
        layers.extend(layer.map(|layer| (key, layer)));
    }
    layers
}

/// In the order of the images, so that findings are.
fn tasks(images: &[Image]) -> Vec<Task<'_>> {
    let ours: HashSet<Key> =
        images.iter().flat_map(|image| &image.layers[image.base_layers..]).map(Descriptor::key).collect();
    let mut seen = HashSet::new();
    images
        .iter()
        .flat_map(|image| &image.layers)
        .filter(|descriptor| seen.insert(descriptor.key()))
        .map(|descriptor| (descriptor, ours.contains(&descriptor.key())))
        .collect()
}

fn read_layer(
    dir: &Path,
    descriptor: &Descriptor,
    ours: bool,
    memory: &AtomicU64,
    findings: &mut Findings,
) -> Option<Layer> {
    let digest = &descriptor.digest;
    if !descriptor.urls.is_empty() {
        findings.notice(Rule::ForeignLayer, digest, "its descriptor has urls, which readers should ignore");
    }
    let Some(packing) = Packing::of(&descriptor.media_type) else {
        let text = format!("{} is not a layer of OCI", printable(descriptor.media_type.as_bytes()));
        findings.error(Rule::MediaType, digest, text);
        return None;
    };
    // The digest first: bytes that nobody vouches for are not given to a decompressor.
    if !blob::check(dir, descriptor, findings) {
        return None;
    }
    let file = blob::open(dir, descriptor, findings)?;
    let limit = descriptor.size.saturating_mul(MAX_RATIO).saturating_add(ALWAYS_ALLOWED);
    let decoded = match packing.decode(file) {
        Ok(decoded) => decoded,
        Err(error) => {
            findings.error(Rule::Compression, digest, format!("cannot be decompressed: {error}"));
            return None;
        }
    };
    let mut tar = HashReader::new(decoded.take(limit.saturating_add(1)));
    let mut documents = Documents::new();
    let (entries, malformed) = read_entries(&mut tar, digest, ours, memory, &mut documents, findings);
    // What follows the entries belongs to the diff id as well, and a broken tar still has one.
    if let Err(error) = io::copy(&mut tar, &mut io::sink()) {
        findings.error(Rule::Compression, digest, format!("cannot be decompressed: {error}"));
        return None;
    }
    let (diff_id, tar_size) = tar.finish();
    if tar_size > limit {
        findings.error(Rule::Compression, digest, format!("decompresses to more than {limit} bytes"));
        return None;
    }
    if let Some(reason) = malformed {
        findings.error(Rule::Tar, digest, format!("after {} entries: {reason}", entries.len()));
    }
    let report = LayerReport {
        digest: digest.clone(),
        size: descriptor.size,
        diff_id: format!("sha256:{diff_id}"),
        tar_size,
        entries: entries.len(),
    };
    Some(Layer { report, entries, documents })
}

/// All entries up to the end, or to the first that cannot be read and why.
fn read_entries(
    tar: &mut impl Read,
    digest: &str,
    ours: bool,
    memory: &AtomicU64,
    documents: &mut Documents,
    findings: &mut Findings,
) -> (Vec<Entry>, Option<String>) {
    let mut reader = tar::Reader::new(tar);
    let mut entries = Vec::new();
    let mut paths: HashSet<Box<[u8]>> = HashSet::new();
    loop {
        let mut entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error.to_string())),
        };
        // The path is held twice until the layer is read.
        let cost = (entry.path.len() + entry.names_len()) as u64 + ENTRY_BYTES;
        if !take(memory, cost) {
            return (entries, Some("more entries than can be held in memory".into()));
        }
        if ours
            && entry.kind == Kind::File
            && let Err(error) = read_content(&mut reader, &mut entry, memory, documents)
        {
            return (entries, Some(error.to_string()));
        }
        if !check_entry(&entry, digest, ours, findings) {
            continue;
        }
        if !entry.path.is_empty() && !paths.insert(entry.path.clone()) {
            findings.entry(Severity::Error, Rule::DuplicateEntry, digest, &entry.path, "is in the layer twice");
        }
        entries.push(entry);
    }
}

fn take(memory: &AtomicU64, cost: u64) -> bool {
    memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).is_ok()
}

/// Hashes a file of ours, and keeps it if others are accounted for by it.
fn read_content(
    reader: &mut tar::Reader<impl Read>,
    entry: &mut Entry,
    memory: &AtomicU64,
    documents: &mut Documents,
) -> io::Result<()> {
    // One that is too large is hashed like any other, and then missed.
    if accounts::is_document(&entry.path) && reader.size() <= MAX_FILE && take(memory, reader.size()) {
        let bytes = reader.read_content(MAX_FILE)?;
        entry.sha256 = Some(Sha256::digest(&bytes).into());
        documents.insert(entry.path.clone(), bytes);
    } else {
        entry.sha256 = Some(reader.hash_content()?);
    }
    Ok(())
}

/// Checks an entry by itself. `false` if its path or hard link leaves the image.
fn check_entry(entry: &Entry, digest: &str, ours: bool, findings: &mut Findings) -> bool {
    let mut found = |severity, rule, text: &str| findings.entry(severity, rule, digest, &entry.path, text);
    if entry.escapes {
        found(Severity::Error, Rule::EscapingPath, "is absolute or has \"..\" in it");
        return false;
    }
    if entry.target().is_some_and(tar::escapes) {
        found(Severity::Error, Rule::EscapingPath, "is a hard link to a path outside the image");
        return false;
    }
    let never_ours = if ours { Severity::Error } else { Severity::Notice };
    match entry.kind {
        Kind::Special(what) => found(never_ours, Rule::SpecialFile, what),
        _ if entry.is_whiteout() => found(never_ours, Rule::Whiteout, "hides what lower layers have"),
        Kind::File | Kind::Directory | Kind::HardLink(_) if entry.mode & 0o6000 != 0 => {
            found(never_ours, Rule::Setuid, &format!("has the mode {:04o}", entry.mode));
        }
        _ => {}
    }
    true
}

pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// OCI image-spec, layer.md; the non-distributable types differ in name only.
    pub fn of(media_type: &str) -> Option<Self> {
        let kind = media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.")
            .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1."))?;
        match kind {
            "tar" => Some(Self::Plain),
            "tar+gzip" => Some(Self::Gzip),
            "tar+zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Gzip members and zstd frames may follow one another (RFC 1952 §2.2, RFC 8878 §3).
    pub fn decode(self, file: impl Read + 'static) -> io::Result<Box<dyn Read>> {
        let file = BufReader::with_capacity(1 << 16, file);
        Ok(match self {
            Self::Plain => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        })
    }
}
