//! ELF files of 64 bits, little-endian, as all machines that we know have them (gABI, chapters 4 and 5). They are others' and may be
//! damaged or cut off.

/// What `e_machine` says (System V ABI, processor supplements).
pub const X86_64: u16 = 62;
pub const AARCH64: u16 = 183;

/// More entries than this in any table is nonsense; it bounds the time that a hostile file can take.
pub const MAX_ENTRIES: u64 = 4096;
const PT_INTERP: u64 = 3;

/// The bytes of a file, or of its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a>(&'a [u8]);

/// A program header.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub kind: u64,
    pub offset: u64,
    pub address: u64,
    /// In the file.
    pub size: u64,
}

impl<'a> Elf<'a> {
    /// `None` for what is no such file.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        // EI_MAG, EI_CLASS = 64 bits, EI_DATA = little-endian.
        bytes.starts_with(b"\x7fELF\x02\x01").then_some(Self(bytes))
    }

    /// `e_type`, and `e_machine`.
    pub fn kind(self) -> Option<(u64, u16)> {
        Some((self.number(16, 2)?, u16::try_from(self.number(18, 2)?).ok()?))
    }

    /// As many as can be read.
    pub fn segments(self) -> Option<Vec<Segment>> {
        // ELF64 header: e_phoff at 32, e_phentsize at 54, e_phnum at 56.
        let (table, size, count) = (self.number(32, 8)?, self.number(54, 2)?, self.number(56, 2)?);
        Some((0..count.min(MAX_ENTRIES)).map_while(|i| self.segment(table.checked_add(i * size)?)).collect())
    }

    /// Elf64_Phdr: p_type at 0, p_offset at 8, p_vaddr at 16, p_filesz at 32.
    fn segment(self, at: u64) -> Option<Segment> {
        Some(Segment {
            kind: self.number(at, 4)?,
            offset: self.number(at.checked_add(8)?, 8)?,
            address: self.number(at.checked_add(16)?, 8)?,
            size: self.number(at.checked_add(32)?, 8)?,
        })
    }

    /// What `PT_INTERP` names, e.g. `/lib64/ld-linux-x86-64.so.2`. Static programs and libraries have none.
    pub fn interpreter(self) -> Option<&'a str> {
        let segment = self.segments()?.into_iter().find(|segment| segment.kind == PT_INTERP)?;
        let text = self.field(segment.offset, usize::try_from(segment.size).ok()?)?;
        std::str::from_utf8(text.split(|&b| b == 0).next()?).ok()
    }

    pub fn number(self, at: u64, len: usize) -> Option<u64> {
        Some(self.field(at, len)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn field(self, at: u64, len: usize) -> Option<&'a [u8]> {
        let at = usize::try_from(at).ok()?;
        self.0.get(at..at.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(bytes: &[u8]) -> Option<&str> {
        Elf::new(bytes)?.interpreter()
    }

    #[test]
    fn reads_the_interpreter_and_survives_any_cut() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 3;
        elf[64 + 8] = 120;
        elf[64 + 32] = 8;
        elf.extend_from_slice(b"/lib/ld\0");
        assert_eq!(interpreter(&elf), Some("/lib/ld"));
        for cut in 0..elf.len() {
            assert_eq!(interpreter(&elf[..cut]), None);
        }
        elf[64 + 8..64 + 16].fill(0xff);
        assert_eq!(interpreter(&elf), None);
        assert_eq!(interpreter(b"#!/bin/sh"), None);
    }
}
