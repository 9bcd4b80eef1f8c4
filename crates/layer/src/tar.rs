//! Tar headers in GNU form, with every field that could vary fixed.
//!
//! Names of more than 100 bytes use GNU's `././@LongLink` entries, which all OCI runtimes read; PAX records would need
//! a name and a time of their own.

use std::io::{self, Write};

use ::tar::{EntryType, Header};

/// What a header says of an entry, beside its path.
pub(crate) struct EntryHeader<'a> {
    pub kind: EntryType,
    pub mode: u32,
    pub mtime: i64,
    pub size: u64,
    /// Numbers of user and group.
    pub owner: (u32, u32),
    /// Of a symbolic or hard link.
    pub target: &'a str,
}

/// Writes the header, and before it the long forms of path and target where they are needed.
pub(crate) fn write_header(sink: &mut impl Write, path: &str, entry: &EntryHeader<'_>) -> io::Result<()> {
    for (kind, text) in [(EntryType::GNULongLink, entry.target), (EntryType::GNULongName, path)] {
        if text.len() > NAME_LEN {
            write_long(sink, kind, text)?;
        }
    }
    let mut header = header(entry.kind, entry.mode, entry.mtime, entry.size);
    header.set_uid(entry.owner.0.into());
    header.set_gid(entry.owner.1.into());
    put(&mut header.as_old_mut().name, path);
    put(&mut header.as_old_mut().linkname, entry.target);
    header.set_cksum();
    sink.write_all(header.as_bytes())
}

/// The zeros between the end of a file's content and the next header.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK][..(BLOCK as u64 - 1 - (size + BLOCK as u64 - 1) % BLOCK as u64) as usize]
}

/// The two blocks of zeros that end an archive (POSIX pax, "ustar Interchange Format").
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const BLOCK: usize = 512;
const NAME_LEN: usize = 100;

fn write_long(sink: &mut impl Write, kind: EntryType, text: &str) -> io::Result<()> {
    // The NUL at the end is part of GNU's form.
    let size = text.len() as u64 + 1;
    let mut header = header(kind, 0o644, 0, size);
    put(&mut header.as_old_mut().name, "././@LongLink");
    header.set_cksum();
    sink.write_all(header.as_bytes())?;
    sink.write_all(text.as_bytes())?;
    sink.write_all(&[0])?;
    sink.write_all(padding(size))
}

fn header(kind: EntryType, mode: u32, mtime: i64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // A time before 1970 has no form that all readers agree on.
    header.set_mtime(mtime.max(0) as u64);
    header.set_size(size);
    header
}

fn put(field: &mut [u8; NAME_LEN], text: &str) {
    let len = text.len().min(NAME_LEN);
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
}

#[cfg(test)]
mod tests {
    use super::padding;

    #[test]
    fn pads_to_whole_blocks() {
        for (size, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size).len(), zeros, "{size}");
        }
    }
}
