//! The tree that a SIF should have: that of the OCI image, and what Apptainer needs.

use std::{io, path::Path};

use oci_read::{
    Budget,
    limits::{PATH_DEPTH, VERIFY_ENTRIES},
    tar::{self, Kind as TarKind},
    tree::{self, Node, ROOT, Tree, TreeError, Whiteout},
};

use sha2::{Digest as _, Sha256};

use super::{Entries, Reason, SifEntry, SifEntryKind};
use crate::{
    ImageReport, peek,
    report::{Findings, Rule, Severity},
};

/// What a SIF has of its own, whatever the image has there.
const OWN: [&[u8]; 13] = [
    b".singularity.d/Singularity",
    b".singularity.d/actions/exec",
    b".singularity.d/actions/run",
    b".singularity.d/actions/shell",
    b".singularity.d/actions/start",
    b".singularity.d/actions/test",
    b".singularity.d/env/90-environment.sh",
    b".singularity.d/env/99-base.sh",
    b".singularity.d/labels.json",
    b".singularity.d/runscript",
    b".singularity.d/startscript",
    b".singularity.d/actions",
    b".singularity.d/libs",
];
/// Links that it has unless something is in their place.
const LINKS: [(&[u8], &[u8]); 6] = [
    (b"singularity", b".singularity.d/runscript"),
    (b".run", b".singularity.d/actions/run"),
    (b".exec", b".singularity.d/actions/exec"),
    (b".test", b".singularity.d/actions/test"),
    (b".shell", b".singularity.d/actions/shell"),
    (b"environment", b".singularity.d/env/90-environment.sh"),
];
/// Directories, and empty files, that something is bound over.
const DIRECTORIES: [&[u8]; 11] = [
    b"dev",
    b"proc",
    b"sys",
    b"tmp",
    b"var",
    b"var/tmp",
    b"home",
    b"root",
    b"etc",
    b".singularity.d",
    b".singularity.d/env",
];
const TARGETS: [&[u8]; 2] = [b"etc/hosts", b"etc/resolv.conf"];

/// The tree of an OCI image, as a SIF has it.
pub(super) struct ExpectedTree(Entries);

impl ExpectedTree {
    /// Puts the layers of an image of a sound layout on top of one another.
    pub(super) fn read(dir: &Path, image: &ImageReport) -> Result<Self, Reason> {
        let manifest = peek::manifest(dir, &image.manifest)?;
        let implied = SifEntry { kind: SifEntryKind::Directory, mode: 0o755 };
        let mut tree = Tree::new(implied.clone());
        let budget = Budget::new(VERIFY_ENTRIES);
        let wrong = |error: TreeError| Reason::Wrong(Rule::OtherTree, error.to_string());
        for layer in &manifest.layers {
            let entries = entries(&mut tar::Reader::new(io::BufReader::new(peek::layer(dir, layer)?)), &budget)?;
            for whiteout in entries.iter().filter_map(|(entry, _)| Whiteout::of(&entry.path)?) {
                match whiteout {
                    Whiteout::Remove(path) => tree.remove(&path).map_err(wrong)?,
                    Whiteout::Empty(path) => tree.empty(&path).map_err(wrong)?,
                }
            }
            let files = entries.iter().filter(|(entry, _)| !entry.is_whiteout() && !entry.path.is_empty());
            for (entry, sha256) in files {
                put(&mut tree, entry, *sha256, &implied).map_err(wrong)?;
            }
        }
        let below = tree.below(ROOT).filter(|(path, _)| path.split(|byte| *byte == b'/').count() <= PATH_DEPTH);
        let found = below.map(|(path, id)| (path, tree.node(id).value().clone()));
        // They are left out of a SIF.
        Ok(Self(found.filter(|(_, entry)| entry.kind != SifEntryKind::Special).collect()))
    }

    /// Says what the SIF has otherwise.
    pub(super) fn compare(&self, found: &Entries, subject: &str, findings: &mut Findings) {
        let mut wrong =
            |path: &[u8], text: String| findings.entry(Severity::Error, Rule::OtherTree, subject, path, text);
        for (path, expected) in self.0.iter().filter(|(path, _)| !OWN.contains(&&***path)) {
            match found.get(path) {
                None => wrong(path, "is in the image and not in the SIF".into()),
                Some(entry) if entry != expected => {
                    wrong(path, format!("is {}; in the image it is {}", entry.describe(), expected.describe()));
                }
                Some(_) => {}
            }
        }
        for (path, entry) in found.iter().filter(|(path, _)| !self.0.contains_key(*path)) {
            if !is_added(path, entry) {
                wrong(path, format!("is {}; it is not in the image", entry.describe()));
            }
        }
        for path in OWN.iter().filter(|path| !found.contains_key(**path)) {
            wrong(path, "is not in the SIF; Apptainer needs it".into());
        }
    }
}

fn is_added(path: &[u8], entry: &SifEntry) -> bool {
    let is_link =
        |(link, target): &(&[u8], &[u8])| *link == path && entry.kind == SifEntryKind::Symlink((*target).into());
    let empty = TARGETS.contains(&path) && entry.kind == SifEntryKind::File(Sha256::digest(b"").into());
    let directory = DIRECTORIES.contains(&path) && *entry == SifEntry { kind: SifEntryKind::Directory, mode: 0o755 };
    OWN.contains(&path) || LINKS.iter().any(is_link) || empty || directory
}

type Read = (tar::Entry, [u8; 32]);

fn entries(reader: &mut tar::Reader<impl io::Read>, budget: &Budget) -> io::Result<Vec<Read>> {
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        budget.entries((size_of::<Read>() + entry.names_len()) as u64)?;
        let sha256 = if entry.kind == TarKind::File { reader.hash_content()? } else { [0; 32] };
        all.push((entry, sha256));
    }
    Ok(all)
}

fn put(tree: &mut Tree<SifEntry>, entry: &tar::Entry, sha256: [u8; 32], implied: &SifEntry) -> Result<(), TreeError> {
    let known = |kind| SifEntry { kind, mode: mode(entry) };
    let node = match &entry.kind {
        TarKind::Directory => Node::Directory(known(SifEntryKind::Directory)),
        TarKind::File => Node::File(known(SifEntryKind::File(sha256))),
        TarKind::Special(_) => Node::File(known(SifEntryKind::Special)),
        TarKind::Symlink(target) => {
            Node::Symlink(SifEntry { kind: SifEntryKind::Symlink((**target).into()), mode: 0o777 }, target.clone())
        }
        TarKind::HardLink(target) => {
            // Of a sound image: it is there.
            let found = tree.find(target, false)?.map(|id| tree.node(id).clone());
            found.unwrap_or_else(|| Node::File(known(SifEntryKind::Special)))
        }
    };
    let parent = tree.parent(&entry.path, implied)?;
    tree.put(parent.id, tree::split(&entry.path).1, node).map(drop)
}

/// The mode of what becomes root's: it does not run with the rights of another user or group any more.
fn mode(entry: &tar::Entry) -> u16 {
    let mut mode = entry.mode & 0o7777;
    if entry.kind != TarKind::Directory {
        for (owner, bit) in [(entry.owner.0, 0o4000), (entry.owner.1, 0o2000)] {
            mode &= if owner == 0 { 0o7777 } else { 0o7777 ^ bit };
        }
    }
    mode as u16
}
