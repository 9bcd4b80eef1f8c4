//! A strict reader of tar: headers of POSIX ustar and GNU, GNU long names, PAX records.
//!
//! It skips contents and reads everything that says *where* something goes. Whatever two readers could understand
//! differently (a second size, two names, sparse files) is an error here rather than a guess: such archives
//! are one tree to a scanner and another to a runtime (CVE-2025-62518). The `tar` crate reads names of any length into
//! memory, and its raw mode ignores the sizes of PAX records.

use std::{
    io::{self, Read},
    sync::Arc,
};

use crate::{
    hash::HashReader,
    limits::{self, bad},
};

const BLOCK: usize = 512;
/// A long name ends with NUL.
const MAX_NAME: u64 = limits::PATH as u64 + 1;

/// One entry, without its content.
#[derive(Debug)]
pub struct Entry {
    /// From the image's root, without `.` components and doubled or final slashes; empty for the root itself.
    pub path: Box<[u8]>,
    pub kind: Kind,
    pub mode: u32,
    /// Numbers of user and group.
    pub owner: (u64, u64),
    /// The length of a file's content.
    pub size: u64,
    /// Seconds since 1970; 0 where the header has none.
    pub time: u64,
    /// It has records beside names and size: extended attributes, for example.
    pub is_special: bool,
    /// The path was absolute or had `..` in it; `path` is then as it stands in the tar.
    pub escapes: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    /// The target, as it stands in the tar, which a tree shares.
    Symlink(Arc<[u8]>),
    /// The target is normalised like a path, unless it escapes.
    HardLink(Box<[u8]>),
    Special(&'static str),
}

impl Entry {
    /// The path that a hard link names.
    pub fn target(&self) -> Option<&[u8]> {
        if let Kind::HardLink(target) = &self.kind { Some(target) } else { None }
    }

    /// What a link of either kind names.
    pub fn link(&self) -> Option<&[u8]> {
        if let Kind::Symlink(target) = &self.kind { Some(target) } else { self.target() }
    }

    /// The bytes that its names take in memory.
    pub fn names_len(&self) -> usize {
        self.path.len() + self.link().map_or(0, <[u8]>::len)
    }

    /// Whether it only hides something of lower layers (OCI image-spec, layer.md "Whiteouts").
    pub fn is_whiteout(&self) -> bool {
        file_name(&self.path).starts_with(b".wh.")
    }
}

pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or_default()
}

pub struct Reader<R> {
    source: R,
    /// Content and padding of the last entry, still to be skipped.
    skip: u64,
    /// The length of the content of the last entry.
    pub size: u64,
    /// The header of the last entry, in which are its owner, its time, and most links' targets.
    pub header: [u8; BLOCK],
    /// How it ended, once there is no next entry.
    pub ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With blocks of zeros, and nothing after them.
    Zeros,
    /// Without them: some writers leave them off.
    Missing,
    /// Something follows them, which readers ignore unless they are told to read on.
    Followed,
}

/// The content of an entry, counted as it is read.
pub struct Content<'a, R> {
    source: io::Take<&'a mut R>,
    skip: &'a mut u64,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        *self.skip -= n as u64;
        Ok(n)
    }
}

/// What extension headers said of the entry that follows them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    /// There were other records.
    other: bool,
}

impl Extension {
    fn is_of_an_entry(&self) -> bool {
        self.path.is_some() || self.target.is_some() || self.size.is_some()
    }
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self { source, skip: 0, size: 0, header: [0; BLOCK], ending: Ending::Missing }
    }

    /// The next entry; `None` at the end.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip_content()?;
            let block = self.block()?;
            if block.is_none_or(|block| block == [0; BLOCK]) && extension.is_of_an_entry() {
                return Err(bad("a long name or record belongs to no entry"));
            }
            let Some(block) = block else { return Ok(None) };
            if block == [0; BLOCK] {
                self.ending = if self.only_zeros()? { Ending::Zeros } else { Ending::Followed };
                return Ok(None);
            }
            let header = Header::new(&block)?;
            let size = header.size()?;
            match header.kind() {
                b'L' => set(&mut extension.path, until_nul(self.extension_data(size, MAX_NAME)?))?,
                b'K' => set(&mut extension.target, until_nul(self.extension_data(size, MAX_NAME)?))?,
                b'x' => {
                    let records = self.extension_data(size, limits::RECORDS)?;
                    read_pax(&records, &mut extension)?;
                }
                b'g' => {
                    let records = self.extension_data(size, limits::RECORDS)?;
                    let mut global = Extension::default();
                    read_pax(&records, &mut global)?;
                    if global.is_of_an_entry() {
                        return Err(bad("a global record gives all entries one path or size"));
                    }
                }
                kind => {
                    self.header = block;
                    return self.entry(&header, kind, extension).map(Some);
                }
            }
        }
    }

    /// The SHA-256 of the content of the last entry.
    pub fn hash_content(&mut self) -> io::Result<[u8; 32]> {
        let size = self.size;
        let mut hash = HashReader::new(self.content());
        io::copy(&mut hash, &mut io::sink())?;
        let (sha256, read) = hash.finish();
        if read == size { Ok(sha256) } else { Err(bad("it ends inside a file")) }
    }

    /// The content of the last entry; what is not read of it is skipped.
    pub fn content(&mut self) -> Content<'_, R> {
        let left = self.size.min(self.skip);
        Content { source: self.source.by_ref().take(left), skip: &mut self.skip }
    }

    /// The content of the last entry, if it has not more than `max` bytes.
    pub fn read_content(&mut self, max: u64) -> io::Result<Vec<u8>> {
        if self.size > max {
            return Err(bad(format!("a file of {} bytes, of which {max} were expected at most", self.size)));
        }
        let mut bytes = Vec::new();
        self.source.by_ref().take(self.size).read_to_end(&mut bytes)?;
        self.skip -= bytes.len() as u64;
        if bytes.len() as u64 == self.size { Ok(bytes) } else { Err(bad("it ends inside a file")) }
    }

    fn entry(&mut self, header: &Header<'_>, kind: u8, extension: Extension) -> io::Result<Entry> {
        let size = extension.size.map_or_else(|| header.size(), Ok)?;
        let raw_path = extension.path.unwrap_or_else(|| header.path());
        let target = extension.target.unwrap_or_else(|| header.target());
        if raw_path.contains(&0) || target.contains(&0) {
            return Err(bad("a path has a zero byte in it"));
        }
        check_length(&raw_path)?;
        check_length(&target)?;
        let has_content = matches!(kind, 0 | b'0' | b'7');
        if !has_content && size != 0 {
            // Some readers skip this many bytes, some do not.
            return Err(bad("an entry that is no file has a size"));
        }
        let kind = match kind {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' | b'7' if raw_path.ends_with(b"/") && size != 0 => {
                return Err(bad("a file whose name ends in a slash"));
            }
            0 | b'0' | b'7' if raw_path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink(if escapes(&target) { target.into() } else { normalised(&target) }),
            b'2' => Kind::Symlink(target.into()),
            b'3' => Kind::Special("is a character device"),
            b'4' => Kind::Special("is a block device"),
            b'5' => Kind::Directory,
            b'6' => Kind::Special("is a named pipe"),
            other => return Err(bad(format!("an entry of the unknown type {:?}", char::from(other)))),
        };
        self.skip = padded(size)?;
        self.size = size;
        let escapes = escapes(&raw_path);
        let path = if escapes { raw_path.into() } else { normalised(&raw_path) };
        let (mode, owner) = (header.mode()?, header.owner()?);
        let is_special = extension.other || extension.uid.is_some() || extension.gid.is_some();
        let owner = (extension.uid.unwrap_or(owner.0), extension.gid.unwrap_or(owner.1));
        Ok(Entry { path, kind, mode, owner, size, time: header.time(), is_special, escapes })
    }

    fn extension_data(&mut self, size: u64, max: u64) -> io::Result<Vec<u8>> {
        if max == MAX_NAME && size > max {
            let path = size - 1;
            return Err(bad(format!("a path of {path} bytes; at most {} are accepted", limits::PATH)));
        }
        if size > max {
            return Err(bad(format!("a long name or record of {size} bytes; at most {max} are read")));
        }
        let mut data = Vec::new();
        self.source.by_ref().take(padded(size)?).read_to_end(&mut data)?;
        if (data.len() as u64) < padded(size)? {
            return Err(bad("it ends inside a long name or record"));
        }
        data.truncate(size as usize);
        Ok(data)
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(self.skip), &mut io::sink())?;
        if skipped != self.skip {
            return Err(bad("it ends inside a file"));
        }
        self.skip = 0;
        Ok(())
    }

    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = Vec::with_capacity(BLOCK);
        self.source.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        block.try_into().map(Some).map_err(|_| bad("it ends inside a header"))
    }

    fn only_zeros(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        loop {
            match self.source.read(&mut buffer)? {
                0 => return Ok(true),
                n if buffer[..n].iter().all(|b| *b == 0) => {}
                _ => return Ok(false),
            }
        }
    }
}

/// The fields of a header block (POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    fn new(block: &'a [u8; BLOCK]) -> io::Result<Self> {
        let header = Self(block);
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        let own: u64 = block[148..156].iter().map(|b| u64::from(*b)).sum();
        if number(&block[148..156])? != sum - own + 8 * u64::from(b' ') {
            return Err(bad("it is not a tar, or the checksum of a header is wrong"));
        }
        Ok(header)
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn size(&self) -> io::Result<u64> {
        number(&self.0[124..136])
    }

    fn mode(&self) -> io::Result<u32> {
        Ok((number(&self.0[100..108])? & 0o7777) as u32)
    }

    fn owner(&self) -> io::Result<(u64, u64)> {
        Ok((number(&self.0[108..116])?, number(&self.0[116..124])?))
    }

    /// Times are of no account where an image is read, so a wrong one is no error.
    fn time(&self) -> u64 {
        number(&self.0[136..148]).unwrap_or_default()
    }

    fn target(&self) -> Vec<u8> {
        until_nul(self.0[157..257].to_vec())
    }

    fn path(&self) -> Vec<u8> {
        let name = until_nul(self.0[..100].to_vec());
        // GNU's magic is "ustar  "; it has times where POSIX has the prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" { until_nul(self.0[345..500].to_vec()) } else { Vec::new() };
        if prefix.is_empty() { name } else { [prefix.as_slice(), b"/", &name].concat() }
    }
}

/// Octal digits, or GNU's big-endian binary number with the first bit set.
fn number(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        // The second bit is the sign.
        let first = u64::from(field[0] & 0x7f);
        let number = field[1..].iter().try_fold(first, |n, byte| n.checked_mul(256)?.checked_add((*byte).into()));
        return number
            .filter(|_| first & 0x40 == 0)
            .ok_or_else(|| bad("a number in a header is negative or too large"));
    }
    let digits = field.iter().position(|b| *b == 0).map_or(field, |end| &field[..end]);
    let digits = digits.trim_ascii();
    if !digits.iter().all(|b| matches!(b, b'0'..=b'7')) {
        return Err(bad("it is not a tar, or a number in a header is not octal"));
    }
    Ok(digits.iter().fold(0, |n, b| n << 3 | u64::from(b - b'0')))
}

/// Records of the form `LENGTH KEY=VALUE\n` (POSIX pax, "pax Extended Header").
fn read_pax(mut records: &[u8], extension: &mut Extension) -> io::Result<()> {
    while !records.is_empty() {
        let malformed = || bad("a PAX record is malformed");
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
            b"size" => set(&mut extension.size, decimal(value).ok_or_else(malformed)?)?,
            b"uid" => set(&mut extension.uid, decimal(value).ok_or_else(malformed)?)?,
            b"gid" => set(&mut extension.gid, decimal(value).ok_or_else(malformed)?)?,
            key if key.starts_with(b"GNU.sparse.") => return Err(bad("a sparse file")),
            b"mtime" | b"atime" | b"ctime" => {}
            _ => extension.other = true,
        }
    }
    Ok(())
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Readers disagree about which of two names is the entry's: Go and the tar crate take GNU's, libarchive the record's.
fn set<T: PartialEq>(slot: &mut Option<T>, value: T) -> io::Result<()> {
    if slot.as_ref().is_some_and(|present| *present != value) {
        return Err(bad("two long names or records for one entry"));
    }
    *slot = Some(value);
    Ok(())
}

fn check_length(path: &[u8]) -> io::Result<()> {
    if path.len() > limits::PATH {
        return Err(bad(format!("a path of {} bytes; at most {} are accepted", path.len(), limits::PATH)));
    }
    let parts = path.split(|b| *b == b'/');
    let (depth, name) = parts.fold((0, 0), |(depth, name), part| (depth + 1, part.len().max(name)));
    if depth > limits::PATH_DEPTH {
        return Err(bad(format!("a path of {depth} components; at most {} are accepted", limits::PATH_DEPTH)));
    }
    if name > limits::NAME {
        return Err(bad(format!("a path with a name of {name} bytes; at most {} are accepted", limits::NAME)));
    }
    Ok(())
}

/// Whether a path of a tar leaves the directory into which it is unpacked.
pub fn escapes(path: &[u8]) -> bool {
    path.starts_with(b"/") || path.split(|b| *b == b'/').any(|part| part == b"..")
}

/// A path without empty and `.` components.
pub fn normalised(path: &[u8]) -> Box<[u8]> {
    let parts: Vec<_> = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    parts.join(&b'/').into()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn padded(size: u64) -> io::Result<u64> {
    size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| bad("a number in a header is too large"))
}
