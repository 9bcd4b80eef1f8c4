//! The application layer: every file is in its list.

use std::collections::BTreeMap;

use oci_read::tar::Kind;
use serde::Deserialize;

use super::{Claim, Comparison, Hashes, Layer, fits, needed_directories, owner, record};
use crate::report::{Rule, printable};

pub(super) const PLACE: &str = "opt/pixi/application.json";
const VERSION: u32 = 1;
const LABEL: &str = "the list of the project's files";

#[derive(Deserialize)]
struct FileList {
    version: u32,
    files: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Listed {
    mode: Option<String>,
    /// `USER:GROUP` in numbers, of a directory that the base image has.
    owner: Option<String>,
    sha256: Option<String>,
    target: Option<String>,
    hard_link: Option<String>,
}

/// Compares the layer with its list.
pub(super) fn check(layer: &Layer, found: &mut Comparison<'_>) {
    let Some(bytes) = layer.documents.get(PLACE.as_bytes()) else {
        let text = "lists the project's files, and is not there; images of older versions do not have it: build anew";
        return found.path(Rule::Removed, PLACE.as_bytes(), text);
    };
    let mut list = match serde_json::from_slice::<FileList>(bytes) {
        Ok(list) if list.version == VERSION => list,
        Ok(_) => return found.path(Rule::Inventory, PLACE.as_bytes(), "is of another version than this program reads"),
        Err(error) => {
            let text = format!("cannot be read: {}", printable(error.to_string().as_bytes()));
            return found.path(Rule::Inventory, PLACE.as_bytes(), &text);
        }
    };
    let (hashes, needed) = (Hashes::new(layer), needed_directories(layer));
    for entry in &layer.entries {
        let listed = std::str::from_utf8(&entry.path).ok().and_then(|path| list.files.remove(path));
        match listed.as_ref().and_then(|listed| listed.owner.as_deref()) {
            Some(of_base) if entry.is_special || of_base != format!("{}:{}", entry.owner.0, entry.owner.1) => {
                found.entry(Rule::Changed, entry, &format!("has not the owner {of_base}, as {LABEL} says"));
            }
            Some(_) => {}
            None => owner(entry, found),
        }
        match (listed, &entry.kind) {
            (Some(listed), _) => {
                let mode = listed.mode.as_deref().and_then(|text| u32::from_str_radix(text, 8).ok());
                if mode.is_some_and(|mode| mode != entry.mode) {
                    found.entry(Rule::Changed, entry, &format!("has the mode {:04o}, its list another", entry.mode));
                }
                fits(entry, &[(LABEL.into(), listed.claim(&hashes))], &hashes, found);
            }
            (None, Kind::File) if &*entry.path == PLACE.as_bytes() && entry.mode == 0o644 => {}
            (None, Kind::Directory) if needed.contains(&*entry.path) && entry.mode == 0o755 => {}
            (None, _) => found.entry(Rule::Unaccounted, entry, &format!("is not in {LABEL}")),
        }
    }
    for path in list.files.keys() {
        found.path(Rule::Removed, path.as_bytes(), &format!("is in {LABEL}, and not there"));
    }
}

impl Listed {
    fn claim(self, hashes: &Hashes<'_>) -> Claim {
        match (self.sha256, self.target, self.hard_link) {
            // No file has this one.
            (Some(sha256), _, _) => Claim::File { sha256: Some(record::from_hex(&sha256).unwrap_or_default()) },
            (_, Some(target), _) => Claim::Link { target: Some(target) },
            (_, _, Some(file)) => {
                Claim::File { sha256: Some(hashes.0.get(file.as_bytes()).copied().unwrap_or_default()) }
            }
            (None, None, None) => Claim::Directory,
        }
    }
}
