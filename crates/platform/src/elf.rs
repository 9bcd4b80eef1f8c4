//! ELF files of 64 bits, little-endian, as all machines that we know have them. They are others' and may be damaged or cut off.

pub use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC};
use object::{
    LittleEndian,
    elf::{FileHeader64, ProgramHeader64},
    read::elf::{FileHeader, ProgramHeader},
};

/// A file, or its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    header: &'a FileHeader64<LittleEndian>,
}

impl<'a> Elf<'a> {
    /// How much of a file [`kind`](Self::kind) needs.
    pub const HEADER: u64 = 64;

    /// `None` if it is not such a file.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
        header.endian().ok().map(|LittleEndian| Self { bytes, header })
    }

    /// `e_type`, and `e_machine`.
    pub fn kind(self) -> (u16, u16) {
        (self.header.e_type(LittleEndian), self.header.e_machine(LittleEndian))
    }

    /// The program headers, at most 65,535.
    pub fn segments(self) -> Option<&'a [ProgramHeader64<LittleEndian>]> {
        self.header.program_headers(LittleEndian, self.bytes).ok()
    }

    /// What `PT_INTERP` names, e.g. `/lib64/ld-linux-x86-64.so.2`. Static programs and libraries have none.
    pub fn interpreter(self) -> Option<&'a str> {
        let named = |segment: &ProgramHeader64<_>| segment.interpreter(LittleEndian, self.bytes).ok()?;
        std::str::from_utf8(self.segments()?.iter().find_map(named)?).ok()
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
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
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
