//! The zip around a `.conda` package, read so that no two programs can see different members in it.
//!
//! Members must be stored, and lie back to back from the first byte of the file to the directory, which must end the
//! file: a program that streams local headers and one that reads the directory then find the same. Everything else that
//! zip allows is refused; no builder of conda packages writes it.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// `metadata.json` and the two tars, with room for members that later versions of the format may add.
const MAX_MEMBERS: u64 = 64;
const MAX_DIRECTORY: u64 = 1 << 20;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;

struct Member {
    name: Vec<u8>,
    flags: u16,
    size: u64,
    header: u64,
}

type Sections = (Range<u64>, Range<u64>);

/// The ranges of `info-*.tar.zst` and `pkg-*.tar.zst` in the file, or what is wrong with it.
pub(super) fn members(file: &mut File, len: u64) -> io::Result<Result<Sections, String>> {
    match read_members(file, len) {
        Ok(sections) => Ok(Ok(sections)),
        Err(Failure::Invalid(reason)) => Ok(Err(reason)),
        // A position outside the file is the archive's lie, not the disk's failure.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Err("the zip's headers point outside the file; it is truncated".into()))
        }
        Err(Failure::Io(error)) => Err(error),
    }
}

enum Failure {
    Io(io::Error),
    Invalid(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Invalid(reason.into()))
}

fn read_members(file: &File, len: u64) -> Result<Sections, Failure> {
    let (directory, count) = directory(file, len)?;
    let mut info = None;
    let mut contents = None;
    let mut metadata = false;
    let mut expected = 0;
    let mut members = central(file, directory.clone(), count)?;
    members.sort_by_key(|member| member.header);
    for (index, member) in members.iter().enumerate() {
        let next = members.get(index + 1).map_or(directory.start, |next| next.header);
        if member.header != expected {
            return invalid("the zip has bytes that belong to no member, or members that overlap");
        }
        let data = data(file, member)?;
        // After the data there may only be a descriptor of it, if the flags announce one.
        let descriptor = next.checked_sub(data.end);
        let has_descriptor = member.flags & 8 != 0;
        if !matches!((descriptor, has_descriptor), (Some(0), _) | (Some(12 | 16 | 20 | 24), true)) {
            return invalid("the zip has bytes that belong to no member, or members that overlap");
        }
        expected = next;
        let name = String::from_utf8_lossy(&member.name);
        let slot = match &*name {
            "metadata.json" if !metadata => {
                metadata = true;
                continue;
            }
            name if name.contains('/') => return invalid(format!("the zip has an unexpected member {name:?}")),
            name if name.starts_with("info-") && name.ends_with(".tar.zst") => &mut info,
            name if name.starts_with("pkg-") && name.ends_with(".tar.zst") => &mut contents,
            name => return invalid(format!("the zip has an unexpected member {name:?}")),
        };
        if slot.replace(data).is_some() {
            return invalid(format!("the zip has a second member of the kind of {name:?}"));
        }
    }
    match (info, contents) {
        (Some(info), Some(contents)) => Ok((info, contents)),
        (None, _) => invalid("the zip has no member info-*.tar.zst"),
        (_, None) => invalid("the zip has no member pkg-*.tar.zst"),
    }
}

/// Where the directory is and how many members it has. Its end record must be the last thing in the file.
fn directory(file: &File, len: u64) -> Result<(Range<u64>, u64), Failure> {
    let Some(end) = len.checked_sub(22) else { return invalid("it is too short for a zip") };
    let record = read::<22>(file, end)?;
    if u32_at(&record, 0) != END || u16_at(&record, 20) != 0 {
        return invalid("the zip's directory does not end the file: it is truncated, or something follows it");
    }
    let (mut count, mut size, mut start) =
        (u64::from(u16_at(&record, 10)), u64::from(u32_at(&record, 12)), u64::from(u32_at(&record, 16)));
    let mut directory_end = end;
    if u16_at(&record, 4) != 0 || u16_at(&record, 6) != 0 || u16_at(&record, 8) != u16_at(&record, 10) {
        return invalid("the zip has several parts");
    }
    if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
        let Some(locator_at) = end.checked_sub(20) else { return invalid("the zip's directory is damaged") };
        let locator = read::<20>(file, locator_at)?;
        let Some(end_64) = locator_at.checked_sub(56) else { return invalid("the zip's directory is damaged") };
        let record = read::<56>(file, end_64)?;
        if u32_at(&locator, 0) != END_64_LOCATOR
            || u64_at(&locator, 8) != end_64
            || u32_at(&record, 0) != END_64
            || u64_at(&record, 4) != 44
            || u64_at(&record, 24) != u64_at(&record, 32)
        {
            return invalid("the zip's directory is damaged");
        }
        (count, size, start) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
        directory_end = end_64;
    } else if end >= 20 && u32_at(&read::<4>(file, end - 20)?, 0) == END_64_LOCATOR {
        // It can hide in the last member's comment. Programs differ in whether they look for it before they know that it
        // is needed, and would see another directory.
        return invalid("the zip has a 64-bit directory beside a 32-bit one");
    }
    if count > MAX_MEMBERS || size > MAX_DIRECTORY {
        return invalid("the zip has more members than a .conda package can have");
    }
    if start.checked_add(size) != Some(directory_end) {
        return invalid("the zip's directory does not end the file: it is truncated, or something follows it");
    }
    Ok((start..directory_end, count))
}

fn central(file: &File, range: Range<u64>, count: u64) -> Result<Vec<Member>, Failure> {
    // At most MAX_DIRECTORY bytes.
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    let mut rest = &bytes[..];
    let mut members = Vec::new();
    for _ in 0..count {
        let Some((head, tail)) = rest.split_at_checked(46) else { return invalid("the zip's directory is damaged") };
        let (name, extra, comment) =
            (usize::from(u16_at(head, 28)), usize::from(u16_at(head, 30)), usize::from(u16_at(head, 32)));
        if u32_at(head, 0) != CENTRAL || tail.len() < name + extra + comment {
            return invalid("the zip's directory is damaged");
        }
        let flags = u16_at(head, 8);
        if flags & 0x2041 != 0 {
            return invalid("the zip has an encrypted member");
        }
        if u16_at(head, 10) != 0 {
            return invalid("the zip has a compressed member; members of a .conda package are stored");
        }
        let (stored, mut size, mut header) =
            (u64::from(u32_at(head, 20)), u64::from(u32_at(head, 24)), u64::from(u32_at(head, 42)));
        if stored != size {
            return invalid("the zip has a stored member with two sizes");
        }
        if size == 0xffff_ffff || header == 0xffff_ffff {
            let Some(mut field) = zip64(&tail[name..name + extra]) else {
                return invalid("the zip's directory is damaged");
            };
            let mut take = || {
                let (value, rest) = field.split_at_checked(8)?;
                field = rest;
                Some(u64_at(value, 0))
            };
            // The field has, in this order, only what did not fit: size, stored size, position.
            let wide = (|| {
                if size == 0xffff_ffff {
                    size = take()?;
                    (take()? == size).then_some(())?;
                }
                if header == 0xffff_ffff {
                    header = take()?;
                }
                Some(())
            })();
            if wide.is_none() {
                return invalid("the zip's directory is damaged");
            }
        }
        members.push(Member { name: tail[..name].into(), flags, size, header });
        rest = &tail[name + extra + comment..];
    }
    if !rest.is_empty() {
        return invalid("the zip's directory has more than its members");
    }
    Ok(members)
}

/// The 64-bit extra field, which has the identifier 1.
fn zip64(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, tail) = extra.split_at_checked(4)?;
        let (field, rest) = tail.split_at_checked(u16_at(head, 2).into())?;
        if u16_at(head, 0) == 1 {
            return Some(field);
        }
        extra = rest;
    }
}

/// Where a member's data is, after a local header that agrees with the directory.
fn data(file: &File, member: &Member) -> Result<Range<u64>, Failure> {
    let head = read::<30>(file, member.header)?;
    let mut name = vec![0; u16_at(&head, 26).into()];
    file.read_exact_at(&mut name, member.header.saturating_add(30))?;
    let sizes = [u32_at(&head, 18), u32_at(&head, 22)].map(u64::from);
    let later = member.flags & 8 != 0;
    let fits = |size| size == member.size || size == 0xffff_ffff || (later && size == 0);
    if u32_at(&head, 0) != LOCAL
        || u16_at(&head, 6) & 0x2049 != member.flags & 0x2049
        || u16_at(&head, 8) != 0
        || name != member.name
        || !sizes.into_iter().all(fits)
    {
        return invalid("the zip's directory and its members contradict each other");
    }
    let start = member.header.saturating_add(30 + name.len() as u64 + u64::from(u16_at(&head, 28)));
    Ok(start..start.saturating_add(member.size))
}

fn read<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
