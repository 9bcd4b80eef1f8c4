//! Checks an air-gap product: every byte of it, with none of the code that wrote it.
//!
//! `DIGEST` names `SHA256SUMS`, which names the content of every file, and `FILES` every file and link. (Permissions are
//! in neither: a product may be on a file system that has none.)
//! What is there and not in the lists, or in the lists and not there, is as wrong as a byte that changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open, read};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use oci_read::hex;
use pixi_oci_formats::product::{MANIFEST, MAX_SIZE};

pub use pixi_oci_formats::product::{ProductEnvironment, ProductManifest};

use crate::report::printable;

const DIGEST: &str = "DIGEST";
const SUMS: &str = "SHA256SUMS";
const FILES: &str = "FILES";
/// Lists of a million files have some 100 MB.
const MAX_LIST: u64 = 512 << 20;
/// Enough to see what is wrong.
const MAX_PROBLEMS: usize = 1000;
/// Real trees have some ten levels.
const MAX_DEPTH: usize = 256;

/// Why there was nothing to check.
#[derive(Debug, thiserror::Error)]
#[error("{} is not an air-gap product: cannot read {file}", dir.display())]
pub struct NotAProduct {
    dir: PathBuf,
    file: &'static str,
    source: io::Error,
}

/// What a product is, and what is wrong with it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductReport {
    /// The digest of the product, recomputed: of its list of digests.
    pub digest: String,
    /// The number of files and links that are there.
    pub files: usize,
    /// What `manifest.json` says; absent where the product is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductManifest>,
    /// What is wrong; at most 1000 things.
    pub problems: Vec<String>,
}

impl ProductReport {
    /// Whether every byte is accounted for.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    File,
    Link(Vec<u8>),
}

/// Checks the product in `dir`.
///
/// # Errors
///
/// There is none. A damaged product is no error: the report says so.
pub fn verify_product(dir: &Path) -> Result<ProductReport, NotAProduct> {
    let read = |file: &'static str| {
        read_list(&dir.join(file)).map_err(|source| NotAProduct { dir: dir.to_owned(), file, source })
    };
    let (digest, sums, files) = (read(DIGEST)?, read(SUMS)?, read(FILES)?);
    let own = format!("sha256:{}", hex(Sha256::digest(&sums)));
    let mut problems = Problems::default();
    if digest != format!("{own}\n").as_bytes() {
        problems.add(format!("{SUMS}: it is not the list that {DIGEST} names"));
    }
    let sums = parse_sums(&sums, &mut problems);
    let listed = parse_files(&files, &mut problems);
    let mut there = BTreeMap::new();
    walk(dir, Vec::new(), 0, &mut there, &mut problems);
    compare(&listed, &there, &sums, &mut problems);
    let wrong: Vec<String> = sums
        .par_iter()
        .filter(|(path, _)| matches!(there.get(*path), Some(Kind::File)))
        .filter_map(|(path, expected)| {
            content(&dir.join(os(path)), expected).map(|why| format!("{}: {why}", shown(path)))
        })
        .collect();
    wrong.into_iter().for_each(|problem| problems.add(problem));
    let product = match problems.list.is_empty() {
        true => read_manifest(dir, &sums, &mut problems),
        false => None,
    };
    Ok(ProductReport { digest: own, files: there.len(), product, problems: problems.list })
}

#[derive(Default)]
struct Problems {
    list: Vec<String>,
}

impl Problems {
    fn add(&mut self, problem: String) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        }
    }
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    read(path, Links::Refuse, MAX_LIST)
}

/// Lines of GNU's sha256sum: 64 digits, two spaces, the path; after a backslash, backslashes in the path are doubled.
fn parse_sums(bytes: &[u8], problems: &mut Problems) -> BTreeMap<Vec<u8>, String> {
    let mut sums = BTreeMap::new();
    for line in lines(bytes) {
        let (escaped, rest) = line.strip_prefix(b"\\").map_or((false, line), |rest| (true, rest));
        let digits = rest.get(..64).and_then(|digits| std::str::from_utf8(digits).ok());
        let path = rest.get(64..).and_then(|rest| rest.strip_prefix(b"  "));
        let (Some(digits), Some(path)) = (digits, path) else {
            problems.add(format!("{SUMS}: {:?} is no line of it", shown(line)));
            continue;
        };
        let path = if escaped { unescaped(path) } else { path.to_vec() };
        if sums.insert(path, digits.to_owned()).is_some() {
            problems.add(format!("{SUMS}: it names {} twice", shown(line)));
        }
    }
    sums
}

fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        out.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    out
}

/// Lines `f PATH` of a file, `l PATH -> TARGET` of a link.
fn parse_files(bytes: &[u8], problems: &mut Problems) -> BTreeMap<Vec<u8>, Kind> {
    let mut files = BTreeMap::new();
    for line in lines(bytes) {
        let entry = match line {
            [b'f', b' ', path @ ..] => Some((path.to_vec(), Kind::File)),
            [b'l', b' ', rest @ ..] => rest
                .windows(4)
                .position(|window| window == b" -> ")
                .map(|at| (rest[..at].to_vec(), Kind::Link(rest[at + 4..].to_vec()))),
            _ => None,
        };
        if entry.is_none_or(|(path, kind)| files.insert(path, kind).is_some()) {
            problems.add(format!("{FILES}: {:?} is no line of it, or there twice", shown(line)));
        }
    }
    files
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn walk(dir: &Path, below: Vec<u8>, depth: usize, there: &mut BTreeMap<Vec<u8>, Kind>, problems: &mut Problems) {
    let entries = match fs::read_dir(dir.join(os(&below))) {
        Ok(entries) if depth < MAX_DEPTH => entries,
        Ok(_) => return problems.add(format!("{}: directories nest deeper than {MAX_DEPTH}", shown(&below))),
        Err(error) => return problems.add(format!("{}: {error}", shown(&below))),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                problems.add(format!("{}: {error}", shown(&below)));
                continue;
            }
        };
        let name = entry.file_name();
        let separator: &[u8] = if below.is_empty() { b"" } else { b"/" };
        let path = [&below, separator, name.as_bytes()].concat();
        let Ok(metadata) = entry.metadata() else {
            problems.add(format!("{}: it cannot be looked at", shown(&path)));
            continue;
        };
        if metadata.is_dir() {
            walk(dir, path, depth + 1, there, problems);
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            there.insert(path, Kind::Link(target.as_os_str().as_bytes().to_vec()));
        } else if metadata.is_file() {
            there.insert(path, Kind::File);
        } else {
            problems.add(format!("{}: it is neither a file, nor a directory, nor a link", shown(&path)));
        }
    }
}

fn compare(
    listed: &BTreeMap<Vec<u8>, Kind>,
    there: &BTreeMap<Vec<u8>, Kind>,
    sums: &BTreeMap<Vec<u8>, String>,
    problems: &mut Problems,
) {
    let paths: BTreeSet<&Vec<u8>> = listed.keys().chain(there.keys()).chain(sums.keys()).collect();
    for path in paths {
        let name = shown(path);
        let summed = sums.contains_key(path);
        match (listed.get(path), there.get(path)) {
            (None, Some(_)) => problems.add(format!("{name}: it does not belong to the product")),
            (Some(_), None) => problems.add(format!("{name}: it is missing")),
            (None, None) => problems.add(format!("{name}: {SUMS} names it, {FILES} does not")),
            (Some(expected), Some(found)) if expected != found => problems.add(format!(
                "{name}: {}",
                match (expected, found) {
                    (Kind::Link(_), Kind::Link(_)) => "the link leads elsewhere",
                    _ => "it is a link in place of a file, or the other way round",
                }
            )),
            (Some(Kind::File), Some(_)) if !summed && *path != SUMS.as_bytes() && *path != DIGEST.as_bytes() => {
                problems.add(format!("{name}: {SUMS} does not name it"));
            }
            (Some(Kind::Link(_)), Some(_)) if summed => problems.add(format!("{name}: {SUMS} names a link")),
            _ => {}
        }
    }
}

/// What is wrong with a file's content.
fn content(path: &Path, expected: &str) -> Option<String> {
    let hash = || -> io::Result<String> {
        let mut file = open(path, Links::Refuse)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(hash.finalize())),
                n => hash.update(&buffer[..n]),
            }
        }
    };
    match hash() {
        Ok(found) if found == expected => None,
        Ok(_) => Some("its content was changed".into()),
        Err(error) => Some(error.to_string()),
    }
}

fn read_manifest(dir: &Path, sums: &BTreeMap<Vec<u8>, String>, problems: &mut Problems) -> Option<ProductManifest> {
    let read = read(&dir.join(MANIFEST), Links::Refuse, MAX_SIZE)
        .and_then(|bytes| ProductManifest::parse(&bytes).map_err(io::Error::other));
    let manifest = match read {
        Ok(manifest) => manifest,
        Err(error) => {
            problems.add(format!("{MANIFEST}: {error}"));
            return None;
        }
    };
    let lock = sums.get(format!("{}/pixi.lock", manifest.name).as_bytes());
    if lock.map(|digits| format!("sha256:{digits}")) != Some(manifest.lock_file_digest.to_string()) {
        problems.add(format!("{}/pixi.lock: it is not the one that {MANIFEST} names", manifest.name));
    }
    // It becomes a path in a container.
    if manifest.name.contains('/') || manifest.name.starts_with('.') || manifest.workspace_manifest.contains('/') {
        problems.add(format!("{MANIFEST}: a name in it is a path"));
        return None;
    }
    Some(manifest)
}

fn os(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}

fn shown(path: &[u8]) -> String {
    printable(path)
}

#[cfg(test)]
mod tests;
