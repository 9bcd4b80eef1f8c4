//! The directory at the end of the zip.

use std::{fs::File, ops::Range};

use super::{
    bytes::{Bytes, Extra, read_at},
    failure::{Style, ZipFault, invalid},
};
use crate::error::Refusal;

/// Ten times what the wheels with the most files have.
const MAX_DIRECTORY: u64 = 128 << 20;

const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

/// The value of a 32-bit field whose true value is in the 64-bit extra field.
pub(super) const WIDE: u64 = 0xffff_ffff;

/// Encrypted in one of three ways.
const ENCRYPTED: u16 = 0x2041;
/// How hard the compressor tried, a descriptor after the data, a name in UTF-8.
const KNOWN: u16 = 0x080e;
pub(super) const DESCRIPTOR: u16 = 0x0008;
const UTF_8: u16 = 0x0800;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const DOS_DIRECTORY: u32 = 0x10;

/// What the directory says about a member.
pub(super) struct ZipMember {
    /// With the slash that marks a directory.
    pub name: String,
    pub is_directory: bool,
    pub executable: bool,
    pub flags: u16,
    pub deflated: bool,
    pub crc: u32,
    pub packed: u64,
    pub size: u64,
    /// Where its local header is.
    pub header: u64,
}

/// Where the directory is and how many members it has. Its end record must be the last thing in the file.
pub(super) fn read_end(file: &File, len: u64) -> Result<(Range<u64>, u64), ZipFault> {
    let Some(end) = len.checked_sub(22) else { return invalid("it is too short for a zip") };
    let bytes = read_at(file, end, 22)?;
    let mut bytes = Bytes(&bytes);
    let record = (|| {
        let signature = bytes.u32()?;
        let parts = [bytes.u16()?, bytes.u16()?];
        let counts = [bytes.u16()?, bytes.u16()?];
        Some((signature, parts, counts, bytes.u32()?, bytes.u32()?, bytes.u16()?))
    })();
    let Some((END, parts, counts, size, start, 0)) = record else {
        return invalid("the zip's directory does not end the file: it is truncated, or something follows it");
    };
    if parts != [0, 0] || counts[0] != counts[1] {
        return invalid("the zip has several parts");
    }
    let (mut count, mut size, mut start) = (u64::from(counts[0]), u64::from(size), u64::from(start));
    let mut directory_end = end;
    let narrow = [(count, 0xffff), (size, WIDE), (start, WIDE)];
    if narrow.iter().any(|(value, wide)| value == wide) {
        (directory_end, count, size, start) = read_end_64(file, end)?;
        let agree = |((value, wide), true_value)| value == wide || value == true_value;
        if !narrow.into_iter().zip([count, size, start]).all(agree) {
            return invalid("the zip's two directories contradict each other");
        }
    } else if end >= 20 && read_at(file, end - 20, 4)? == END_64_LOCATOR.to_le_bytes() {
        // Programs differ in whether they look for it before they know that it is needed.
        return invalid("the zip has a 64-bit directory beside a 32-bit one");
    }
    if size > MAX_DIRECTORY {
        return invalid("the zip has more members than a package can have");
    }
    if start.checked_add(size) != Some(directory_end) {
        return invalid("the zip's directory does not end the file: it is truncated, or something follows it");
    }
    Ok((start..directory_end, count))
}

/// Where the 64-bit record begins, and its count, size and start of the directory.
fn read_end_64(file: &File, end: u64) -> Result<(u64, u64, u64, u64), ZipFault> {
    let damaged = || ZipFault::Invalid("the zip's 64-bit directory is damaged".into());
    let locator_at = end.checked_sub(20).ok_or_else(damaged)?;
    let record_at = locator_at.checked_sub(56).ok_or_else(damaged)?;
    let bytes = read_at(file, record_at, 76)?;
    let mut bytes = Bytes(&bytes);
    (|| {
        let signature = bytes.u32()?;
        // Its own length without the first twelve bytes: no room for extensions.
        let len = bytes.u64()?;
        bytes.take(4)?;
        let parts = [bytes.u32()?, bytes.u32()?];
        let counts = [bytes.u64()?, bytes.u64()?];
        let (size, start) = (bytes.u64()?, bytes.u64()?);
        let locator = (bytes.u32()?, bytes.u32()?, bytes.u64()?, bytes.u32()?);
        let sound = signature == END_64
            && len == 44
            && parts == [0, 0]
            && counts[0] == counts[1]
            && locator == (END_64_LOCATOR, 0, record_at, 1);
        sound.then_some((record_at, counts[0], size, start))
    })()
    .ok_or_else(damaged)
}

/// The members in the order of the file, and where the directory begins.
pub(super) fn read(file: &File, len: u64, style: Style) -> Result<(Vec<ZipMember>, u64), ZipFault> {
    let (range, count) = read_end(file, len)?;
    // At most MAX_DIRECTORY bytes.
    let bytes = read_at(file, range.start, (range.end - range.start) as usize)?;
    let mut bytes = Bytes(&bytes);
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(entry(&mut bytes, style)?);
    }
    if !bytes.0.is_empty() {
        return invalid("the zip's directory has more than its members");
    }
    entries.sort_by_key(|entry| entry.header);
    Ok((entries, range.start))
}

/// The fixed part of a member's record in the directory.
struct MemberRecord {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    /// Of the name, the extra fields and the comment.
    lengths: [u16; 3],
    external: u32,
    header: u32,
}

impl MemberRecord {
    fn parse(bytes: &mut Bytes<'_>) -> Option<Self> {
        if bytes.u32()? != CENTRAL {
            return None;
        }
        let _versions = bytes.u32()?;
        let (flags, method) = (bytes.u16()?, bytes.u16()?);
        let _time = bytes.u32()?;
        let (crc, packed, size) = (bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let lengths = [bytes.u16()?, bytes.u16()?, bytes.u16()?];
        let part = bytes.u16()?;
        let _internal = bytes.u16()?;
        let (external, header) = (bytes.u32()?, bytes.u32()?);
        (part == 0).then_some(Self { flags, method, crc, packed, size, lengths, external, header })
    }
}

fn entry(bytes: &mut Bytes<'_>, style: Style) -> Result<ZipMember, ZipFault> {
    let damaged = || ZipFault::Invalid("the zip's directory is damaged".into());
    let record = MemberRecord::parse(bytes).ok_or_else(damaged)?;
    let [Some(name), Some(extra), Some(_)] = record.lengths.map(|len| bytes.take(len.into())) else {
        return Err(damaged());
    };
    let extra = Extra::parse(extra).ok_or_else(damaged)?;
    let text = text(name, record.flags)?;
    let refuse = |refusal| Err(ZipFault::Member(text.into(), refusal));

    if record.flags & ENCRYPTED != 0 {
        return invalid(format!("the zip's member {text:?} is encrypted"));
    }
    if record.flags & !KNOWN != 0 {
        return invalid(format!("the zip's member {text:?} has flags that no package has"));
    }
    let method = record.method;
    if method != STORED && style == Style::Stored {
        return invalid("the zip has a compressed member; members of a .conda package are stored");
    }
    if !matches!(method, STORED | DEFLATED) {
        return invalid(format!("the zip's member {text:?} is compressed by method {method}; wheels use deflate"));
    }
    if !extra.agrees_with(name) {
        return refuse(Refusal::Ambiguous("two names"));
    }
    let mut wide = Bytes(extra.wide.unwrap_or_default());
    // The field has, in this order, only what did not fit.
    let mut resolve = |value: u32| if u64::from(value) == WIDE { wide.u64() } else { Some(value.into()) };
    let [Some(size), Some(packed), Some(header)] = [record.size, record.packed, record.header].map(&mut resolve) else {
        return Err(damaged());
    };
    if !wide.0.is_empty() {
        return refuse(Refusal::Ambiguous("a 64-bit size beside a 32-bit one"));
    }

    let is_directory = text.ends_with('/');
    let mode = record.external >> 16;
    match mode & FILE_TYPE {
        0 => {}
        REGULAR if !is_directory => {}
        DIRECTORY if is_directory => {}
        REGULAR => return refuse(Refusal::Ambiguous("a directory's name and a file's mode")),
        DIRECTORY => return refuse(Refusal::Ambiguous("a file's name and a directory's mode")),
        SYMLINK => return refuse(Refusal::Special("symbolic link, which the zip of a package cannot have")),
        _ => return refuse(Refusal::Special("device or pipe")),
    }
    if record.external & DOS_DIRECTORY != 0 && !is_directory {
        return refuse(Refusal::Ambiguous("a file's name and a directory's attribute"));
    }
    if is_directory && (size, record.crc) != (0, 0) {
        return refuse(Refusal::Ambiguous("a directory with content"));
    }
    if method == STORED && packed != size {
        return refuse(Refusal::Ambiguous("two sizes"));
    }
    Ok(ZipMember {
        name: text.into(),
        is_directory,
        // The only permission that is kept. Like pip and uv, from whatever system the zip says it was made on.
        executable: mode & 0o111 != 0,
        flags: record.flags,
        deflated: method == DEFLATED,
        crc: record.crc,
        packed,
        size,
        header,
    })
}

/// A member's name. Without the flag for UTF-8 it is in a code page, and programs agree on ASCII only.
fn text(name: &[u8], flags: u16) -> Result<&str, ZipFault> {
    match std::str::from_utf8(name) {
        Ok(text) if flags & UTF_8 != 0 || text.is_ascii() => Ok(text),
        _ => Err(ZipFault::Member(String::from_utf8_lossy(name).into(), Refusal::NotUtf8)),
    }
}
