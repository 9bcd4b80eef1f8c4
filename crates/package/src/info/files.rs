//! The few files of `info/` that decide how a package is linked.

use std::collections::BTreeMap;

use pixi_oci_layer::Digest;

use crate::{
    archive::{Archive, Entry, Kind},
    error::{Error, Refusal},
};

/// Files with one line or object a path of the package.
const MAX_LIST: u64 = 256 << 20;
/// Files about the package as a whole.
const MAX_OBJECT: u64 = 4 << 20;
/// It is only hashed.
const MAX_ABOUT: u64 = 16 << 20;

/// The files, with the most bytes of each.
const FILES: [(&str, u64); 8] = [
    (ABOUT, MAX_ABOUT),
    ("info/files", MAX_LIST),
    ("info/has_prefix", MAX_LIST),
    ("info/index.json", MAX_OBJECT),
    ("info/link.json", MAX_OBJECT),
    ("info/no_link", MAX_LIST),
    ("info/no_softlink", MAX_LIST),
    ("info/paths.json", MAX_LIST),
];

const ABOUT: &str = "info/about.json";

/// What was seen of them so far.
#[derive(Default)]
pub(crate) struct InfoFiles {
    found: BTreeMap<&'static str, InfoFile>,
    /// How many bytes they have together.
    bytes: u64,
}

struct InfoFile {
    bytes: Vec<u8>,
    mtime: i64,
}

/// The digest and modification time of each, by name.
pub(crate) type Fingerprints = BTreeMap<&'static str, (Digest, i64)>;

impl InfoFiles {
    /// Keeps the entry if it is one of them; returns whether it is.
    pub fn read(&mut self, archive: &Archive, entry: Entry<'_>) -> Result<bool, Error> {
        let Some((name, limit)) = FILES.into_iter().find(|(name, _)| *name == entry.path.as_str()) else {
            return Ok(false);
        };
        if entry.kind != Kind::File {
            let refusal = Refusal::Type { listed: Kind::File.name(), found: entry.kind.name() };
            return Err(Error::path(&archive.name, name, refusal));
        }
        let limit = limit.min(archive.max_info());
        self.bytes = self.bytes.saturating_add(entry.size);
        if entry.size > limit || self.bytes > archive.max_info() {
            return Err(Error::TooBig { package: archive.name.clone(), what: "bytes in a file of info/", limit });
        }
        let mut bytes = Vec::new();
        entry.body.read_to_end(&mut bytes).map_err(|e| archive.broken(e))?;
        self.found.insert(name, InfoFile { bytes, mtime: entry.mtime });
        Ok(true)
    }

    /// Whether nothing more is needed to link the package. Archives have these files first, in the order of names or of
    /// sizes; a package without one of them is read to its end, so that none is missed.
    pub fn suffice(&self) -> bool {
        let has = |name| self.found.contains_key(name);
        has("info/index.json") && has("info/paths.json") && has(ABOUT) && (has("info/link.json") || !self.is_python())
    }

    /// Whether the package may have entry points. Only a guess that saves reading: what `index.json` says is parsed later.
    fn is_python(&self) -> bool {
        self.content("info/index.json").is_some_and(|json| {
            let json = String::from_utf8_lossy(json);
            json.contains("noarch") && json.contains("python")
        })
    }

    /// The file's bytes.
    pub fn content(&self, name: &str) -> Option<&[u8]> {
        self.found.get(name).map(|found| &*found.bytes)
    }

    /// The modification time of `about.json`.
    pub fn about_mtime(&self) -> Option<i64> {
        self.found.get(ABOUT).map(|found| found.mtime)
    }

    /// To compare with what another reading of the archive finds.
    pub fn fingerprints(&self) -> Fingerprints {
        self.found.iter().map(|(name, found)| (*name, (Digest::of(&found.bytes), found.mtime))).collect()
    }
}
