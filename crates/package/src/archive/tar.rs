//! The entries of a tar, with everything refused that programs read differently.
//!
//! The `tar` crate finds the headers; what they mean together (long names, PAX records) is decided here, so that the
//! memory they take is bounded and that an archive cannot show one set of files to us and another to the programs that
//! scanned it before (CVE-2025-62518 and its relatives).

use std::{io::Read, ops::ControlFlow};

use pixi_oci_layer::{TreePath, too_long};
use tar::{EntryType, Header};

use super::limit::Limit;
use crate::{
    check::Checker,
    error::{Error, Refusal},
    path::normalise,
};

/// A long name or the PAX records of one entry; both hold little more than two paths.
const MAX_EXTENSION: u64 = 1 << 20;
/// rattler's extractor sets no earlier time: 1980-01-01, the first that every file system can hold
/// (`rattler_package_streaming/src/read.rs`).
const FIRST_MTIME: u64 = 315_532_800;
/// The last time that a plain tar header can hold, in the year 2242.
const LAST_MTIME: u64 = 0o77_777_777_777;

/// One entry of an archive.
pub struct Entry<'a> {
    /// Where it is in the package.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Its permission bits as the archive has them; what has none that can be read has none.
    pub mode: u32,
    /// Seconds since 1970, never before 1980.
    pub mtime: i64,
    /// The length of the body of a file.
    pub size: u64,
    /// The content of a file.
    pub body: &'a mut dyn Read,
}

impl Entry<'_> {
    /// Whether anybody may execute it.
    pub(crate) fn executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

/// Looks at the entries, one after another.
pub(crate) type Visitor<'a> = dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>, Error> + 'a;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file, with the entry's body.
    File,
    /// A directory.
    Directory,
    /// With its target, verbatim.
    Symlink(String),
    /// To an entry that must have come before.
    HardLink(TreePath),
}

impl Kind {
    /// For errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink(_) => "symbolic link",
            Self::HardLink(_) => "hard link",
        }
    }
}

/// Headers that describe the entry after them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    pending: bool,
}

/// Shows the entries of the tar that `reader` yields to `visit`.
pub(super) fn walk(
    archive: &Limit<'_>,
    reader: impl Read,
    checker: &mut Checker,
    visit: &mut Visitor<'_>,
) -> Result<ControlFlow<()>, Error> {
    let mut tar = tar::Archive::new(reader);
    let mut extensions = Extensions::default();
    for entry in tar.entries().map_err(|e| archive.broken(e))?.raw(true) {
        let mut entry = entry.map_err(|e| archive.broken(e))?;
        let header = entry.header().clone();
        let kind = header.entry_type();
        let extension = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        if extension {
            let invalid = |reason| Error::archive(archive.package, reason);
            if entry.size() > MAX_EXTENSION {
                return Err(invalid("the tar has an extension header larger than 1 MiB"));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| archive.broken(e))?;
            extensions.take(kind, bytes).map_err(invalid)?;
            continue;
        }
        let extensions = std::mem::take(&mut extensions);
        let size = entry.size();
        let Some((path, kind)) = describe(&header, size, extensions)
            .map_err(|(path, refusal)| Error::path(archive.package, path, refusal))?
        else {
            continue;
        };
        checker.add(archive.package, &path, kind == Kind::Directory)?;
        let entry = Entry {
            path,
            kind,
            mode: header.mode().unwrap_or(0) & 0o777,
            mtime: header.mtime().unwrap_or(0).clamp(FIRST_MTIME, LAST_MTIME) as i64,
            size,
            body: &mut entry,
        };
        if visit(entry)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if extensions.pending {
        return Err(Error::archive(archive.package, "the tar ends after a header that describes a further entry"));
    }
    // To the end, so that a stream cut short is noticed. What is after the end mark is only seen by some programs.
    let mut rest = tar.into_inner();
    let mut buffer = [0; 8192];
    loop {
        match rest.read(&mut buffer).map_err(|e| archive.broken(e))? {
            0 => return Ok(ControlFlow::Continue(())),
            n if buffer[..n].iter().all(|byte| *byte == 0) => {}
            _ => return Err(Error::archive(archive.package, "the tar has data after its end")),
        }
    }
}

impl Extensions {
    /// Takes note of what a header says; or says what is wrong with it.
    fn take(&mut self, kind: EntryType, bytes: Vec<u8>) -> Result<(), &'static str> {
        if kind == EntryType::XGlobalHeader {
            // A comment, as git writes it, is harmless; what describes all further entries is not.
            return pax(&bytes, |key, _| if matters(key) { Err(AMBIGUOUS) } else { Ok(()) });
        }
        self.pending = true;
        match kind {
            EntryType::XHeader => pax(&bytes, |key, value| match key {
                b"path" => set(&mut self.name, value.into()),
                b"linkpath" => set(&mut self.link, value.into()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    set(&mut self.size, size.ok_or(AMBIGUOUS)?)
                }
                key if matters(key) => Err("the tar has a sparse file"),
                _ => Ok(()),
            }),
            EntryType::GNULongName => set(&mut self.name, without_nul(bytes)),
            _ => set(&mut self.link, without_nul(bytes)),
        }
    }
}

const AMBIGUOUS: &str = "the tar has extension headers that programs read differently";

fn matters(key: &[u8]) -> bool {
    matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.")
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(AMBIGUOUS),
    }
}

/// Calls `record` with each record `LENGTH KEY=VALUE\n` of PAX, where the length is that of the whole record.
fn pax(mut bytes: &[u8], mut record: impl FnMut(&[u8], &[u8]) -> Result<(), &'static str>) -> Result<(), &'static str> {
    fn split<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let digits = &bytes[..space];
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let (one, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let one = one.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = one.iter().position(|byte| *byte == b'=')?;
        Some((&one[..equals], &one[equals + 1..]))
    }

    while !bytes.is_empty() {
        let (key, value) = split(&mut bytes).ok_or("the tar has damaged PAX records")?;
        record(key, value)?;
    }
    Ok(())
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// What an entry is and where; `None` for one that nobody unpacks.
fn describe(header: &Header, size: u64, extensions: Extensions) -> Result<Option<(TreePath, Kind)>, (String, Refusal)> {
    let raw = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
    let shown = String::from_utf8_lossy(&raw).into_owned();
    let refuse = |refusal| Err((shown.clone(), refusal));
    let Ok(name) = std::str::from_utf8(&raw) else {
        // No list of paths can name it, and installers link what is listed.
        return Ok(None);
    };
    if extensions.size.is_some_and(|pax| pax != size) {
        return refuse(Refusal::Ambiguous("it has two sizes"));
    }
    let ends_with_slash = name.ends_with('/');
    let kind = match header.entry_type() {
        // Tars older than POSIX mark directories by the slash alone.
        EntryType::Regular if ends_with_slash && header.as_ustar().is_none() => Kind::Directory,
        EntryType::Regular if ends_with_slash => return refuse(Refusal::Ambiguous("a file with a slash at its end")),
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        kind @ (EntryType::Symlink | EntryType::Link) => {
            let target = extensions.link.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
            let Ok(target) = String::from_utf8(target) else { return refuse(Refusal::LinkTarget) };
            if kind == EntryType::Symlink {
                if let Some(reason) = too_long(&target) {
                    return refuse(Refusal::LongTarget(reason));
                }
                if target.is_empty() || target.contains('\0') {
                    return refuse(Refusal::LinkTarget);
                }
                Kind::Symlink(target)
            } else {
                match normalise(&target) {
                    Ok(path) => Kind::HardLink(path),
                    Err(_) => return refuse(Refusal::HardLink(target)),
                }
            }
        }
        EntryType::Block => return refuse(Refusal::Special("block device")),
        EntryType::Char => return refuse(Refusal::Special("character device")),
        EntryType::Fifo => return refuse(Refusal::Special("named pipe")),
        EntryType::GNUSparse => return refuse(Refusal::Special("sparse file")),
        _ => return refuse(Refusal::Special("entry of an unknown kind")),
    };
    if size > 0 && kind != Kind::File {
        return refuse(Refusal::Ambiguous("it has a body although it is no file"));
    }
    match normalise(name) {
        Ok(path) => Ok(Some((path, kind))),
        // `./`, the directory that everything is in.
        Err(Refusal::Empty) if kind == Kind::Directory => Ok(None),
        Err(refusal) => refuse(refusal),
    }
}
