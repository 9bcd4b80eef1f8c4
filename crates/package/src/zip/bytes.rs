//! Little-endian numbers, taken from the front of some bytes.

use std::{fs::File, io, os::unix::fs::FileExt};

/// What is left to be read of a header.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// `len` bytes of a file. The caller has bounded `len`.
pub(super) fn read_at(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The extra fields that say something about where a member is or how it is called.
#[derive(Default)]
pub(super) struct Extra<'a> {
    /// Identifier 1: what does not fit 32 bits.
    pub wide: Option<&'a [u8]>,
    /// Identifier 0x7075: Info-ZIP's other name for the member.
    pub name: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// `None` if a field is there twice, or longer than the whole.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut extra = Self::default();
        let mut bytes = Bytes(bytes);
        // Fewer than four bytes at the end are the padding of alignment tools.
        while bytes.0.len() >= 4 {
            let id = bytes.u16()?;
            let len = bytes.u16()?;
            let field = bytes.take(len.into())?;
            let slot = match id {
                0x0001 => &mut extra.wide,
                0x7075 => &mut extra.name,
                _ => continue,
            };
            if slot.replace(field).is_some() {
                return None;
            }
        }
        Some(extra)
    }

    /// Whether Info-ZIP's field, which begins with a version and a checksum, agrees with the name.
    pub fn agrees_with(&self, name: &[u8]) -> bool {
        self.name.is_none_or(|field| field.get(5..) == Some(name))
    }
}
