//! Reads the entries of other people's layers.
//!
//! `tar`'s own iterator reads names of any length into memory, and a layer's bytes are not ours; so this is a reader
//! with bounds. It understands POSIX ustar and pax, and GNU's long names. What two readers could understand differently
//! is refused and not guessed (CVE-2025-62518): a scanner and a runtime would see two different trees.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// `PATH_MAX`: nothing longer can be created in one piece.
const MAX_NAME: u64 = 4096 + 1;
/// Pax records hold extended attributes too, which Linux limits to 64 KiB each.
const MAX_PAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    /// A regular file, or a device, a pipe, …: something that is neither of the others.
    File,
    Symlink,
    HardLink,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As it stands in the tar.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Of links; as it stands in the tar.
    pub target: Vec<u8>,
    /// The length of the content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Numbers of user and group.
    pub owner: (u32, u32),
}

/// Reads entries one by one.
pub(crate) struct Reader<R> {
    source: R,
    /// What is left of the content of the last entry, and its padding.
    content: u64,
    padding: u64,
}

/// What extension headers say of the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, content: 0, padding: 0 }
    }

    /// The next entry, or `None` at the end: of the archive, or of the bytes, because some writers leave the end off.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        // GNU's long names and pax records may both be there for one entry; pax wins, as in Go and in libarchive.
        let (mut gnu, mut pax) = (Extension::default(), Extension::default());
        loop {
            self.skip_content()?;
            let Some(block) = self.block()? else { return Ok(None) };
            if block == [0; BLOCK] {
                return Ok(None);
            }
            let header = Header::new(&block)?;
            let size = header.size()?;
            match header.kind() {
                b'L' => set(&mut gnu.path, until_nul(&self.extension_data(size, MAX_NAME)?))?,
                b'K' => set(&mut gnu.target, until_nul(&self.extension_data(size, MAX_NAME)?))?,
                b'x' => read_pax(&self.extension_data(size, MAX_PAX)?, &mut pax)?,
                b'g' => {
                    let mut global = Extension::default();
                    read_pax(&self.extension_data(size, MAX_PAX)?, &mut global)?;
                    if global.path.is_some() || global.target.is_some() || global.size.is_some() {
                        return Err(bad("a global record gives all entries one path or size"));
                    }
                }
                kind => {
                    let extension = Extension { path: pax.path.or(gnu.path), target: pax.target.or(gnu.target), ..pax };
                    return self.entry(&header, kind, extension).map(Some);
                }
            }
        }
    }

    /// Reads the content of the entry that came last.
    pub(crate) fn read_content(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let wanted = std::mem::take(&mut self.content);
        self.source.by_ref().take(wanted).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != wanted { Err(bad("it ends inside a file")) } else { Ok(bytes) }
    }

    /// The content of the entry that came last, to be read to its end.
    pub(crate) fn content(&mut self) -> impl Read {
        let wanted = std::mem::take(&mut self.content);
        self.source.by_ref().take(wanted)
    }

    fn entry(&mut self, header: &Header<'_>, kind: u8, extension: Extension) -> io::Result<Entry> {
        let size = extension.size.map_or_else(|| header.size(), Ok)?;
        let path = extension.path.unwrap_or_else(|| header.path());
        let target = extension.target.unwrap_or_else(|| until_nul(&header.0[157..257]));
        if path.contains(&0) || target.contains(&0) {
            return Err(bad("a path has a zero byte in it"));
        }
        if path.len().max(target.len()) as u64 > MAX_NAME {
            return Err(bad("a path is longer than any system allows"));
        }
        let kind = match kind {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'3' | b'4' | b'6' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'S' => return Err(bad("it has a sparse file in GNU's form")),
            other => return Err(bad(format!("an entry has the unknown type {:?}", char::from(other)))),
        };
        if kind != Kind::File && size != 0 {
            // Some readers skip this many bytes, some do not.
            return Err(bad("an entry that is no file has a size"));
        }
        self.expect(size)?;
        let owner = (extension.uid.unwrap_or(header.id(108)), extension.gid.unwrap_or(header.id(116)));
        Ok(Entry { path, kind, target, size, mode: header.mode()?, owner })
    }

    fn expect(&mut self, size: u64) -> io::Result<()> {
        let whole = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| bad("a size is too large"))?;
        (self.content, self.padding) = (size, whole - size);
        Ok(())
    }

    fn extension_data(&mut self, size: u64, max: u64) -> io::Result<Vec<u8>> {
        if size > max {
            return Err(bad(format!("it has a name or record of {size} bytes")));
        }
        self.expect(size)?;
        self.read_content()
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let left = std::mem::take(&mut self.content) + std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.source.by_ref().take(left), &mut io::sink())?;
        if skipped != left { Err(bad("it ends inside a file")) } else { Ok(()) }
    }

    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = Vec::with_capacity(BLOCK);
        self.source.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        block.try_into().map(Some).map_err(|_| bad("it ends inside a header"))
    }
}

/// The fields of a header block (POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    fn new(block: &'a [u8; BLOCK]) -> io::Result<Self> {
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        let own: u64 = block[148..156].iter().map(|b| u64::from(*b)).sum();
        if number(&block[148..156])? != sum - own + 8 * u64::from(b' ') {
            return Err(bad("it is no tar, or the checksum of a header is wrong"));
        }
        Ok(Self(block))
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn mode(&self) -> io::Result<u32> {
        Ok((number(&self.0[100..108])? & 0o7777) as u32)
    }

    /// The number of a user or group. Nobody unpacks by a wrong one, so it is root's.
    fn id(&self, at: usize) -> u32 {
        number(&self.0[at..at + 8]).ok().and_then(|id| id.try_into().ok()).unwrap_or(0)
    }

    fn size(&self) -> io::Result<u64> {
        number(&self.0[124..136])
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // GNU's magic is "ustar  "; it has times where POSIX has the prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" { until_nul(&self.0[345..500]) } else { Vec::new() };
        if prefix.is_empty() { name } else { [prefix.as_slice(), b"/", &name].concat() }
    }
}

/// Octal digits, or GNU's big-endian binary number with the first bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        return field
            .iter()
            .enumerate()
            .try_fold(0_u64, |n, (i, byte)| {
                let byte = if i == 0 { byte & 0x7f } else { *byte };
                n.checked_mul(256)?.checked_add(byte.into())
            })
            .ok_or_else(|| bad("a number in a header is negative or too large"));
    }
    let digits = field.split(|b| *b == 0).next().unwrap_or_default().trim_ascii();
    if !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return Err(bad("it is no tar, or a number in a header is not octal"));
    }
    Ok(digits.iter().fold(0, |n, b| n << 3 | u64::from(b - b'0')))
}

/// Records of the form `LENGTH KEY=VALUE\n` (POSIX pax, "pax Extended Header").
fn read_pax(mut records: &[u8], extension: &mut Extension) -> io::Result<()> {
    let malformed = || bad("a pax record is malformed");
    while !records.is_empty() {
        let space = records.iter().position(|b| *b == b' ').ok_or_else(malformed)?;
        let length: usize =
            std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
        if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &records[space + 1..length - 1];
        records = &records[length..];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => set(&mut extension.path, value.to_vec())?,
            b"linkpath" => set(&mut extension.target, value.to_vec())?,
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
                set(&mut extension.size, size)?;
            }
            b"uid" => extension.uid = id(value),
            b"gid" => extension.gid = id(value),
            key if key.starts_with(b"GNU.sparse.") => return Err(bad("it has a sparse file in pax form")),
            _ => {}
        }
    }
    Ok(())
}

fn id(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn set<T>(slot: &mut Option<T>, value: T) -> io::Result<()> {
    if slot.replace(value).is_some() { Err(bad("one entry has two long names or records of a kind")) } else { Ok(()) }
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

fn bad(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
