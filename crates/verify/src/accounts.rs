//! Accounts for everything in the layers of ours: each path is a package's, by the package's own record; or a file of the
//! project, by the list in the application layer; or generated, by a rule that says its content.
//!
//! What is compared with what is in docs/verify.md. The records are in the image themselves: this finds what was added,
//! changed or removed by anything that does not know them, and the packages that the lock file does not have. Whether the
//! records are those of the archives can only be told with the archives.

mod application;
mod conda;
mod entrypoint;
mod environment;
mod record;
mod table;
mod wheel;

use std::collections::{BTreeMap, HashMap, HashSet};

use oci_read::tar::Kind;

use crate::{
    layer::{HashedEntry, ReadLayer},
    places::is_conda_meta,
    purpose::Purpose,
    report::{Findings, PackageRecord, Rule, Severity},
};

/// What an image says of itself, as far as its files follow from it. Paths have no slash at either end.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub prefix: &'a str,
    pub workdir: &'a str,
    pub environment: &'a str,
    /// `NAME=VALUE`.
    pub variables: &'a [String],
    pub entrypoint: &'a [String],
    /// There is no base image.
    pub is_scratch: bool,
}

/// What a path must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    File {
        /// `None` for a list that cannot have its own digest, and for wheels that list other digests than SHA-256.
        sha256: Option<[u8; 32]>,
    },
    Link {
        /// `None` if nobody says where it leads.
        target: Option<String>,
    },
    Directory,
}

/// Compares all layers of ours, from the lowest, with what accounts for them; gives the packages that have records.
pub(crate) fn account(
    image: &str,
    facts: &Facts<'_>,
    layers: &[(Purpose, &ReadLayer)],
    findings: &mut Findings,
) -> Vec<PackageRecord> {
    for (purpose, what) in [(Purpose::Environment, "environment"), (Purpose::Application, "application")] {
        let number = layers.iter().filter(|(own, _)| *own == purpose).count();
        if number != 1 {
            findings.error(Rule::Inventory, image, format!("has {number} {what} layers; there is always one"));
        }
    }
    let table = table::read(layers, findings);
    let everything = Everything::new(facts, layers);
    let mut packages = Vec::new();
    let mut number = 0;
    let mut rest = layers;
    while let Some(((purpose, layer), above)) = rest.split_first() {
        rest = above;
        let found = &mut Comparison { layer, findings };
        match purpose {
            Purpose::Packages => {
                let mut claims = claims(facts, layer, &table, &everything, &mut packages, found);
                for (label, files) in table.corrections(number) {
                    wheel::correct(facts, label, files, &mut claims, found);
                }
                // The first part of a package has the record, and the others lie on it.
                let others = above.iter().take(table.parts(number) - 1).map_while(|(purpose, layer)| {
                    let is_part = *purpose == Purpose::Packages;
                    is_part.then_some(*layer)
                });
                let parts: Vec<&ReadLayer> = std::iter::once(*layer).chain(others).collect();
                rest = &above[parts.len() - 1..];
                number += parts.len();
                package_layers(facts, &parts, &claims, &everything, findings);
            }
            Purpose::Environment => environment::check(facts, layer, layers, found),
            Purpose::Application => {
                // The list has the files of the workspace's own packages, too; here are their names.
                claims(facts, layer, &table, &everything, &mut packages, found);
                application::check(layer, found);
            }
            Purpose::Unknown => {
                for entry in &layer.entries {
                    found.entry(Rule::Unaccounted, entry, "is in a layer that pixi-oci did not make");
                }
            }
        }
    }
    table.check(&packages, findings);
    packages.sort();
    packages
}

struct Comparison<'a> {
    layer: &'a ReadLayer,
    findings: &'a mut Findings,
}

impl Comparison<'_> {
    fn entry(&mut self, rule: Rule, entry: &HashedEntry, text: &str) {
        self.path(rule, &entry.path, text);
    }

    fn path(&mut self, rule: Rule, path: &[u8], text: &str) {
        self.findings.entry(Severity::Error, rule, &self.layer.report.digest, path, text);
    }
}

/// The claims of a layer's packages, by path from the image's root. Two wheels may have one path.
type Claims = HashMap<String, Vec<(String, Claim)>>;

/// All paths of ours.
struct Everything<'a> {
    paths: HashSet<&'a [u8]>,
    /// Paths below the prefix that a package had to give up, without the package's name.
    clobbered: HashSet<&'a [u8]>,
    /// Symbolic links and their targets.
    links: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Everything<'a> {
    fn new(facts: &Facts<'_>, layers: &[(Purpose, &'a ReadLayer)]) -> Self {
        let mut all = Self { paths: HashSet::new(), clobbered: HashSet::new(), links: BTreeMap::new() };
        for entry in layers.iter().flat_map(|(_, layer)| &layer.entries) {
            all.paths.insert(&entry.path);
            all.clobbered.extend(clobbered(facts, &entry.path));
            if let Kind::Symlink(target) = &entry.kind {
                all.links.insert(&entry.path, target);
            }
        }
        all
    }
}

/// The path below the prefix that `PREFIX/__clobbers__/PACKAGE/PATH` would have.
fn clobbered<'a>(facts: &Facts<'_>, path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(facts.prefix.as_bytes())?.strip_prefix(b"/__clobbers__/")?;
    let slash = rest.iter().position(|b| *b == b'/')?;
    Some(&rest[slash + 1..])
}

fn claims(
    facts: &Facts<'_>,
    layer: &ReadLayer,
    table: &table::Table,
    everything: &Everything<'_>,
    packages: &mut Vec<PackageRecord>,
    found: &mut Comparison<'_>,
) -> Claims {
    let mut claims = Claims::new();
    let mut documents: Vec<_> = layer.documents.iter().collect();
    documents.sort();
    for (path, bytes) in documents.iter().filter(|(path, _)| is_conda_meta(path)) {
        conda::read(facts, path, bytes, table, packages, &mut claims, found);
    }
    for (path, bytes) in documents.iter().filter(|(path, _)| path.ends_with(b"/RECORD")) {
        // Conda packages have them, too; their files have the better record.
        let is_condas = std::str::from_utf8(path).is_ok_and(|path| claims.contains_key(path));
        if !is_condas {
            wheel::read(facts, path, bytes, everything, packages, &mut claims, found);
        }
    }
    claims
}

/// Compares the layer of some packages, or the parts of one, with what these claim.
fn package_layers(
    facts: &Facts<'_>,
    parts: &[&ReadLayer],
    claims: &Claims,
    everything: &Everything<'_>,
    findings: &mut Findings,
) {
    parts.iter().for_each(|layer| part(facts, claims, &mut Comparison { layer, findings }));
    let Some(layer) = parts.first() else { return };
    let found = &mut Comparison { layer, findings };
    let here: HashSet<&[u8]> = parts.iter().flat_map(|layer| &layer.entries).map(|entry| &*entry.path).collect();
    let mut missing: Vec<_> = claims
        .iter()
        .filter(|(path, claimed)| {
            let path = path.as_bytes();
            // What a wheel lists may have been made by another package later; a conda record is exact.
            let below = || path.strip_prefix(facts.prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
            let elsewhere =
                || everything.paths.contains(path) || below().is_some_and(|below| everything.clobbered.contains(below));
            let all_of_wheels = claimed.iter().all(|(package, _)| package.starts_with(wheel::KIND));
            !here.contains(path)
                && claimed.iter().any(|(_, claim)| *claim != Claim::Directory)
                && !(all_of_wheels && elsewhere())
        })
        .collect();
    missing.sort_by_key(|(path, _)| path.as_str());
    for (path, claimed) in missing {
        let package = claimed.first().map_or("", |(package, _)| package);
        found.path(Rule::Removed, path.as_bytes(), &format!("{package} has it, and it is not there"));
    }
}

fn part(facts: &Facts<'_>, claims: &Claims, found: &mut Comparison<'_>) {
    let layer = found.layer;
    let hashes = Hashes::new(layer);
    let needed = needed_directories(layer);
    let has_wheel = claims.values().flatten().any(|(package, _)| package.starts_with(wheel::KIND));
    for entry in &layer.entries {
        let text = std::str::from_utf8(&entry.path).unwrap_or_default();
        let given_up = clobbered(facts, &entry.path).and_then(|rest| std::str::from_utf8(rest).ok());
        let of_wheel = || claims.get(&format!("{}/{}", facts.prefix, given_up?));
        let claimed = claims.get(text).or_else(of_wheel);
        plain_mode(entry, found);
        match (claimed, &entry.kind) {
            (Some(claimed), _) => fits(entry, claimed, &hashes, found),
            (None, Kind::Directory) if needed.contains(&*entry.path) => {}
            // `RECORD` has no directories, and an empty one has no bytes.
            (None, Kind::Directory) if has_wheel && text.starts_with(facts.prefix) => {}
            (None, _) => found.entry(Rule::Unaccounted, entry, "is of none of the packages in this layer"),
        }
    }
}

/// Digests of a layer's files, hard links included.
struct Hashes<'a>(HashMap<&'a [u8], [u8; 32]>);

impl<'a> Hashes<'a> {
    fn new(layer: &'a ReadLayer) -> Self {
        let own = layer.entries.iter().filter_map(|entry| Some((&*entry.path, entry.sha256?)));
        let mut hashes: HashMap<&[u8], [u8; 32]> = own.collect();
        for entry in &layer.entries {
            if let Some(hash) = entry.target().and_then(|target| hashes.get(target).copied()) {
                hashes.insert(&entry.path, hash);
            }
        }
        Self(hashes)
    }
}

/// The directories that something is in.
fn needed_directories(layer: &ReadLayer) -> HashSet<&[u8]> {
    let ends = |path: &[u8]| path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect::<Vec<_>>();
    layer.entries.iter().flat_map(|entry| ends(&entry.path).into_iter().map(|at| &entry.path[..at])).collect()
}

/// Nothing in a package layer has other permissions, and nothing of ours another owner.
fn plain_mode(entry: &HashedEntry, found: &mut Comparison<'_>) {
    owner(entry, found);
    let plain = match entry.kind {
        Kind::Directory => entry.mode == 0o755,
        Kind::File | Kind::HardLink(_) => matches!(entry.mode, 0o644 | 0o755),
        Kind::Symlink(_) | Kind::Special(_) => true,
    };
    if !plain {
        found.entry(Rule::Changed, entry, &format!("has the mode {:04o}, which pixi-oci does not write", entry.mode));
    }
}

fn owner(entry: &HashedEntry, found: &mut Comparison<'_>) {
    if entry.is_special || entry.owner != (0, 0) {
        found.entry(Rule::Changed, entry, "has an owner or attributes, which pixi-oci does not write");
    }
}

/// Whether an entry is what one of the claims says.
fn fits(entry: &HashedEntry, claimed: &[(String, Claim)], hashes: &Hashes<'_>, found: &mut Comparison<'_>) {
    let package = claimed.first().map_or("", |(package, _)| package);
    let fits = claimed.iter().any(|(_, claim)| match (claim, &entry.kind) {
        (Claim::File { sha256 }, Kind::File | Kind::HardLink(_)) => {
            sha256.is_none() || *sha256 == hashes.0.get(&*entry.path).copied()
        }
        (Claim::Link { target: None }, Kind::Symlink(_)) | (Claim::Directory, Kind::Directory) => true,
        (Claim::Link { target: Some(target) }, Kind::Symlink(own)) => target.as_bytes() == &**own,
        _ => false,
    });
    if fits {
        return;
    }
    let what = match claimed.first().map(|(_, claim)| claim) {
        Some(Claim::Link { target: Some(target) }) => format!("a link to {target}"),
        Some(Claim::Link { .. }) => "a link".into(),
        Some(Claim::Directory) => "a directory".into(),
        _ => "a file with another content".into(),
    };
    found.entry(Rule::Changed, entry, &format!("is {what} in {package}"));
}
