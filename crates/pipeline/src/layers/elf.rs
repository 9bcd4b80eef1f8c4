//! The program interpreter of an ELF executable.

/// What `PT_INTERP` names, e.g. `/lib64/ld-linux-x86-64.so.2`, read from the beginning of a file. `None` if the bytes
/// are not a little-endian 64-bit ELF file, name no interpreter (static programs, libraries), or are cut off before it.
pub fn interpreter(bytes: &[u8]) -> Option<&str> {
    const PT_INTERP: u64 = 3;
    // ELF64 header: e_phoff at 32, e_phentsize at 54, e_phnum at 56 (gABI, chapter 4).
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, entry_size, entries) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?);
    (0..entries).find_map(|i| {
        let at = usize::try_from(table.checked_add(i * entry_size)?).ok()?;
        if number(bytes, at, 4)? != PT_INTERP {
            return None;
        }
        // ELF64 program header: p_offset at 8, p_filesz at 32.
        let start = usize::try_from(number(bytes, at.checked_add(8)?, 8)?).ok()?;
        let len = usize::try_from(number(bytes, at.checked_add(32)?, 8)?).ok()?;
        let text = bytes.get(start..start.checked_add(len)?)?;
        std::str::from_utf8(text.split(|&b| b == 0).next()?).ok()
    })
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    Some(field.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
