//! Layers: each blob once, its digest, then what is inside.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    ops::Deref,
    path::Path,
    sync::Arc,
};

use oci_read::{
    Budget,
    document::{Descriptor, Key},
    limits::{FILE, VERIFY_ENTRIES},
    tar::{self, Ending, Kind},
    unpack::{Packing, Unpacked, unpack},
};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::{
    LayerReport,
    layout::blob,
    layout::image::Image,
    layout::written,
    places,
    report::{Findings, Rule, Severity, printable},
};

/// Layers that could be read.
pub(crate) type Layers = HashMap<Key, ReadLayer>;

pub(crate) struct ReadLayer {
    pub report: LayerReport,
    /// In the order of the tar, without those that leave the image.
    pub entries: Vec<HashedEntry>,
    /// What files are accounted for by, in a layer of ours.
    pub documents: Documents,
}

/// An entry, and the digest of its content in a layer of ours.
pub(crate) struct HashedEntry {
    entry: tar::Entry,
    pub sha256: Option<[u8; 32]>,
}

impl Deref for HashedEntry {
    type Target = tar::Entry;

    fn deref(&self) -> &tar::Entry {
        &self.entry
    }
}

/// Contents of files by path.
pub(crate) type Documents = HashMap<Box<[u8]>, Vec<u8>>;

/// A layer to be read, and whether it is above the base in some image.
type Task<'a> = (&'a Descriptor, bool);

/// Reads each layer of all images once.
pub(crate) fn read_layers(dir: &Path, images: &[Image], findings: &mut Findings) -> Layers {
    let budget = Arc::new(Budget::new(VERIFY_ENTRIES));
    let read: Vec<_> = tasks(images)
        .into_par_iter()
        .map(|(descriptor, ours)| {
            let mut findings = Findings::default();
            let layer = read_layer(dir, descriptor, ours, &budget, &mut findings);
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
    budget: &Arc<Budget>,
    findings: &mut Findings,
) -> Option<ReadLayer> {
    let digest = &descriptor.digest;
    if !descriptor.urls.is_empty() {
        findings.notice(Rule::ForeignLayer, digest, "its descriptor has urls, which readers should ignore");
    }
    if Packing::of_oci(&descriptor.media_type).is_none() {
        let text = format!("{} is not a layer of OCI", printable(descriptor.media_type.as_bytes()));
        findings.error(Rule::MediaType, digest, text);
        return None;
    }
    // The digest first: bytes that nobody vouches for are not given to a decompressor.
    if !blob::check(dir, descriptor, findings) {
        return None;
    }
    let file = blob::open(dir, descriptor, findings)?;
    let mut broken =
        |error: io::Error| findings.error(Rule::Compression, digest, format!("cannot be decompressed: {error}"));
    let mut tar = unpacked(file, descriptor, budget).map_err(&mut broken).ok()?;
    let mut content = LayerReader { digest, ours, budget, documents: Documents::new(), findings: Findings::default() };
    let (entries, malformed) = content.read(&mut tar);
    // What follows the entries belongs to the diff id as well, and a broken tar still has one.
    let (diff_id, tar_size, hidden) = tar.finish().map_err(broken).ok()?;
    if ours {
        written::hidden(hidden, digest, findings);
    }
    let LayerReader { documents, findings: of_entries, .. } = content;
    findings.append(of_entries);
    if let Some(reason) = malformed {
        findings.error(Rule::Tar, digest, format!("after {} entries: {reason}", entries.len()));
    }
    let report = LayerReport {
        digest: digest.clone(),
        size: descriptor.size,
        diff_id: format!("sha256:{}", hex::encode(diff_id)),
        tar_size,
        entries: entries.len(),
    };
    Some(ReadLayer { report, entries, documents })
}

/// The tar of a layer's blob.
pub(crate) fn unpacked(
    blob: impl Read + 'static,
    descriptor: &Descriptor,
    budget: &Arc<Budget>,
) -> io::Result<Unpacked<'static>> {
    let packing = Packing::of_oci(&descriptor.media_type).unwrap_or(Packing::Plain);
    Ok(unpack(blob, descriptor.size, Some(packing), budget)?.1)
}

struct LayerReader<'a> {
    digest: &'a str,
    ours: bool,
    budget: &'a Budget,
    documents: Documents,
    findings: Findings,
}

impl LayerReader<'_> {
    /// All entries up to the end, or to the first that cannot be read and why.
    fn read(&mut self, tar: &mut impl Read) -> (Vec<HashedEntry>, Option<String>) {
        let mut reader = tar::Reader::new(tar);
        let mut entries = Vec::new();
        loop {
            match self.next(&mut reader) {
                Ok(Some(entry)) if check_entry(&entry, self.digest, self.ours, &mut self.findings) => {
                    entries.push(entry)
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return (entries, Some(error.to_string())),
            }
        }
        self.ending(reader.ending);
        self.duplicates(&entries);
        (entries, None)
    }

    fn next(&mut self, reader: &mut tar::Reader<impl Read>) -> io::Result<Option<HashedEntry>> {
        let Some(entry) = reader.next_entry()? else { return Ok(None) };
        self.budget.entries((size_of::<HashedEntry>() + entry.names_len() + 16) as u64)?;
        let sha256 = match entry.kind == Kind::File && self.ours {
            true => Some(self.content(reader, &entry)?),
            false => None,
        };
        Ok(Some(HashedEntry { entry, sha256 }))
    }

    /// Hashes a file of ours, and keeps it if others are accounted for by it.
    fn content(&mut self, reader: &mut tar::Reader<impl Read>, entry: &tar::Entry) -> io::Result<[u8; 32]> {
        // One that is too large is hashed like any other, and then missed.
        if !places::is_document(&entry.path) || entry.size > FILE || self.budget.entries(entry.size).is_err() {
            return reader.hash_content();
        }
        let bytes = reader.read_content(FILE)?;
        let sha256 = Sha256::digest(&bytes).into();
        self.documents.insert(entry.path.clone(), bytes);
        Ok(sha256)
    }

    /// Readers that are told to ignore an end read on behind it.
    fn ending(&mut self, ending: Ending) {
        let text = match ending {
            Ending::Zeros => return,
            Ending::Missing => "ends without the blocks that end a tar",
            Ending::Followed => "has data after its end",
        };
        match self.ours {
            true => self.findings.error(Rule::Tar, self.digest, text),
            false => self.findings.notice(Rule::Tar, self.digest, text),
        }
    }

    fn duplicates(&mut self, entries: &[HashedEntry]) {
        let mut paths: Vec<&[u8]> = entries.iter().map(|entry| &*entry.path).filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        for pair in paths.windows(2).filter(|pair| pair[0] == pair[1]) {
            self.findings.entry(Severity::Error, Rule::DuplicateEntry, self.digest, pair[0], "is there twice");
        }
    }
}

/// Checks an entry by itself. `false` if its path or hard link leaves the image.
fn check_entry(entry: &HashedEntry, digest: &str, ours: bool, findings: &mut Findings) -> bool {
    let mut found = |severity, rule, text: &str| findings.entry(severity, rule, digest, &entry.path, text);
    if entry.escapes {
        let is_absolute = entry.path.starts_with(b"/");
        let text = if is_absolute { "is an absolute path" } else { "has a `..` component, which leaves the image" };
        found(Severity::Error, Rule::EscapingPath, text);
        return false;
    }
    if entry.target().is_some_and(tar::escapes) {
        found(Severity::Error, Rule::EscapingPath, "is a hard link to a path outside the image");
        return false;
    }
    let never_ours = if ours { Severity::Error } else { Severity::Notice };
    match entry.kind {
        Kind::Special(what) => found(never_ours, Rule::SpecialFile, what),
        _ if entry.is_whiteout() => {
            let text = "has a component that begins with `.wh.`, which deletes files of lower layers";
            found(never_ours, Rule::Whiteout, text);
        }
        Kind::File | Kind::Directory | Kind::HardLink(_) if entry.mode & 0o6000 != 0 => {
            found(never_ours, Rule::Setuid, &format!("has the mode {:04o}", entry.mode));
        }
        _ => {}
    }
    true
}
