//! The headers in front of the members, which must repeat what the directory says.

use std::{fs::File, ops::Range};

use super::{
    bytes::{Bytes, Extra, read_at},
    directory::{DESCRIPTOR, WIDE, ZipMember},
    failure::{Style, ZipFault, invalid},
};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;

/// Where the data of a member begins that is not here: nowhere that can be read.
pub(super) const ELSEWHERE: u64 = u64::MAX;

/// Checks that the members fill the file up to `end`, each with a header of its own, and says where the data of each
/// begins. Of members that are not here only the room that they have is checked.
pub(super) fn check(
    file: &File,
    (entries, end): (Vec<ZipMember>, u64),
    style: Style,
    is_here: &dyn Fn(Range<u64>) -> bool,
) -> Result<Vec<(ZipMember, u64)>, ZipFault> {
    let mut expected = 0;
    let mut checked = Vec::with_capacity(entries.len());
    let mut entries = entries.into_iter().peekable();
    while let Some(entry) = entries.next() {
        if entry.header != expected {
            return invalid("the zip has bytes that belong to no member, or members that overlap");
        }
        let next = entries.peek().map_or(end, |next| next.header);
        if !is_here(entry.header..next) {
            if next.checked_sub(entry.header).is_none_or(|room| room < entry.packed) {
                return invalid("the zip has bytes that belong to no member, or members that overlap");
            }
            expected = next;
            checked.push((entry, ELSEWHERE));
            continue;
        }
        let start = header(file, &entry, style)?;
        let rest = start.checked_add(entry.packed).and_then(|data_end| next.checked_sub(data_end));
        match rest {
            Some(0) if entry.flags & DESCRIPTOR == 0 => {}
            Some(len @ (12 | 16 | 20 | 24)) if entry.flags & DESCRIPTOR != 0 => {
                let bytes = read_at(file, next - len, len as usize)?;
                if descriptor(&entry, Bytes(&bytes)).is_none() {
                    return contradict(&entry);
                }
            }
            _ => return invalid("the zip has bytes that belong to no member, or members that overlap"),
        }
        expected = next;
        checked.push((entry, start));
    }
    if expected != end {
        return invalid("the zip has bytes that belong to no member, or members that overlap");
    }
    Ok(checked)
}

fn contradict<T>(entry: &ZipMember) -> Result<T, ZipFault> {
    invalid(format!("the zip's directory and the header of its member {:?} contradict each other", entry.name))
}

/// Where a member's data begins, after a header that agrees with the directory.
fn header(file: &File, entry: &ZipMember, style: Style) -> Result<u64, ZipFault> {
    let head = read_at(file, entry.header, 30)?;
    let mut head = Bytes(&head);
    let Some((sums, name, extra)) = (|| {
        if head.u32()? != LOCAL {
            return None;
        }
        let _version = head.u16()?;
        let kind = (head.u16()?, head.u16()?);
        let _time = head.u32()?;
        let sums = (head.u32()?, head.u32()?, head.u32()?);
        let (name, extra) = (head.u16()?, head.u16()?);
        (kind == (entry.flags, if entry.deflated { 8 } else { 0 })).then_some((sums, name, extra))
    })() else {
        return contradict(entry);
    };
    let names = read_at(file, entry.header + 30, usize::from(name) + usize::from(extra))?;
    let (name, extra) = names.split_at(name.into());
    let agrees = name == entry.name.as_bytes()
        && Extra::parse(extra)
            .is_some_and(|extra| extra.agrees_with(name) && sums_agree(entry, sums, extra.wide, style));
    if !agrees {
        return contradict(entry);
    }
    Ok(entry.header + 30 + names.len() as u64)
}

/// Whether checksum, packed and unpacked size are those of the directory, or nothing where a descriptor follows.
fn sums_agree(entry: &ZipMember, (crc, packed, size): (u32, u32, u32), wide: Option<&[u8]>, style: Style) -> bool {
    let later = entry.flags & DESCRIPTOR != 0;
    // Where stored data ends that only a descriptor gives the length of, every program guesses. The tars of conda packages
    // end by themselves.
    if later && !entry.deflated && entry.size != 0 && style != Style::Stored {
        return false;
    }
    let said = |values: [u64; 2]| values == [entry.size, entry.packed] || (later && values == [0, 0]);
    let narrow = [size, packed].map(u64::from);
    let sizes = match wide {
        None => said(narrow),
        // Bazel's rules write both.
        Some(wide) => {
            let mut wide = Bytes(wide);
            let (Some(wide_size), Some(wide_packed), []) = (wide.u64(), wide.u64(), wide.0) else { return false };
            said([wide_size, wide_packed]) && (narrow == [WIDE, WIDE] || said(narrow))
        }
    };
    sizes && (crc == entry.crc || (later && crc == 0))
}

/// `None` if what follows the data does not say what the directory says.
fn descriptor(entry: &ZipMember, mut bytes: Bytes<'_>) -> Option<()> {
    if matches!(bytes.0.len(), 16 | 24) && bytes.u32()? != DESCRIPTOR_SIGNATURE {
        return None;
    }
    let crc = bytes.u32()?;
    let sizes = match bytes.0.len() {
        8 => [bytes.u32()?.into(), bytes.u32()?.into()],
        _ => [bytes.u64()?, bytes.u64()?],
    };
    (crc == entry.crc && sizes == [entry.packed, entry.size]).then_some(())
}
