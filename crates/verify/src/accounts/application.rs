//! The application layer: every file is in its list.

use oci_read::tar::Kind;
use pixi_oci_formats::file_list::{FileList, Listed, PLACE};

use super::{Claim, Comparison, Hashes, ReadLayer, fits, needed_directories, owner, record};
use crate::report::{Rule, printable};

const LABEL: &str = "the list of the project's files";

pub(super) fn check(layer: &ReadLayer, found: &mut Comparison<'_>) {
    let Some(bytes) = layer.documents.get(PLACE.as_bytes()) else {
        let text = "lists the project's files, and is not there; images of older versions do not have it: build anew";
        return found.path(Rule::Removed, PLACE.as_bytes(), text);
    };
    let mut list = match FileList::parse(bytes) {
        Ok(list) => list,
        Err(error) => {
            return found.path(Rule::Inventory, PLACE.as_bytes(), &printable(error.to_string().as_bytes()));
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
                fits(entry, &[(LABEL.into(), claim(listed, &hashes))], &hashes, found);
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

fn claim(listed: Listed, hashes: &Hashes<'_>) -> Claim {
    match (listed.sha256, listed.target, listed.hard_link) {
        // No file has this one.
        (Some(sha256), _, _) => Claim::File { sha256: Some(record::from_hex(&sha256).unwrap_or_default()) },
        (_, Some(target), _) => Claim::Link { target: Some(target) },
        (_, _, Some(file)) => Claim::File { sha256: Some(hashes.0.get(file.as_bytes()).copied().unwrap_or_default()) },
        (None, None, None) => Claim::Directory,
    }
}
