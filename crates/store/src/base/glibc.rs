//! The version of a glibc, from its `libc.so.6`.
//!
//! A glibc defines one symbol version for each of its releases that added symbols, `GLIBC_2.2.5` to e.g. `GLIBC_2.39`;
//! what a program needs is compared with these by the dynamic loader. So the highest one is the glibc's version as
//! far as programs can tell. They are found as the loader finds them, through the program headers and the dynamic
//! section (gABI chapter 5, "Dynamic Section"; LSB Core, "Symbol Versioning"): section headers may be stripped.

use object::{
    LittleEndian,
    elf::{DT_STRTAB, DT_VERDEF, DT_VERDEFNUM, PT_LOAD, Verdaux, Verdef},
    read::{
        ReadRef,
        elf::{Dyn, ProgramHeader},
    },
};
use pixi_oci_image::Architecture;
use pixi_oci_platform::elf::{EM_AARCH64, EM_X86_64, Elf};
use serde::{Deserialize, Serialize};

/// What a `libc.so.6` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Glibc {
    /// `e_machine` of the ELF header.
    machine: u16,
    /// Major and minor.
    pub version: (u32, u32),
}

impl Glibc {
    /// Whether programs of this architecture can use it.
    pub(crate) fn is_for(&self, architecture: Architecture) -> bool {
        self.machine
            == match architecture {
                Architecture::Amd64 => EM_X86_64,
                Architecture::Arm64 => EM_AARCH64,
            }
    }
}

/// Larger libraries are not read. glibc's is 2 MB, with debugging symbols 20 MB.
pub(crate) const MAX_LIBC: u64 = 64 << 20;

/// Whether a file of this name may be a glibc: old releases have `libc.so.6` as a link to `libc-2.31.so`.
pub(crate) fn is_candidate(file_name: &str) -> bool {
    file_name == "libc.so.6" || (file_name.starts_with("libc-2.") && file_name.ends_with(".so"))
}

/// More entries than this in a table is nonsense; it bounds the time that a hostile file can take.
const MAX_ENTRIES: usize = 4096;

/// Reads a little-endian 64-bit ELF file. `None` if it is none, is damaged, or defines no version of glibc.
pub(crate) fn read(bytes: &[u8]) -> Option<Glibc> {
    let elf = Elf::new(bytes)?;
    let (_, machine) = elf.kind();
    let segments = elf.segments()?;
    let offset = |address: u64| {
        segments.iter().filter(|segment| segment.p_type(LittleEndian) == PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(LittleEndian))?;
            (within < segment.p_filesz(LittleEndian)).then(|| segment.p_offset(LittleEndian).checked_add(within))?
        })
    };

    let dynamic = segments.iter().find_map(|segment| segment.dynamic(LittleEndian, bytes).ok()?)?;
    let tag = |wanted: u32| {
        let entry = dynamic.iter().take(MAX_ENTRIES).find(|entry| entry.d_tag(LittleEndian) == u64::from(wanted))?;
        Some(entry.d_val(LittleEndian))
    };
    let strings = offset(tag(DT_STRTAB)?)?;
    let mut at = offset(tag(DT_VERDEF)?)?;
    let mut highest = None;
    for _ in 0..tag(DT_VERDEFNUM)?.min(MAX_ENTRIES as u64) {
        let defined = bytes.read_at::<Verdef<LittleEndian>>(at).ok()?;
        let aux = at.checked_add(defined.vd_aux.get(LittleEndian).into())?;
        let name = bytes.read_at::<Verdaux<LittleEndian>>(aux).ok()?.vda_name.get(LittleEndian);
        highest = highest.max(version(text(bytes, strings.checked_add(name.into())?)?));
        at = at.checked_add(defined.vd_next.get(LittleEndian).into())?;
    }
    highest.map(|version| Glibc { machine, version })
}

/// `GLIBC_2.39` is 2.39; `GLIBC_2.2.5` is 2.2; `GLIBC_PRIVATE` and `GLIBC_ABI_DT_RELR` are none.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix("GLIBC_")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn text(bytes: &[u8], at: u64) -> Option<&str> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let name = rest.split(|b| *b == 0).next()?;
    std::str::from_utf8(name.get(..name.len().min(64))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixi_oci_test_need::{From, need};

    #[test]
    fn names_of_versions() {
        assert_eq!(version("GLIBC_2.39"), Some((2, 39)));
        assert_eq!(version("GLIBC_2.2.5"), Some((2, 2)));
        for none in ["GLIBC_PRIVATE", "GLIBC_ABI_DT_RELR", "libc.so.6", "GLIBC_2", ""] {
            assert_eq!(version(none), None, "{none}");
        }
    }

    /// This machine's glibc, which is asked for its version too. Skipped, with a line that says so, on other systems.
    #[test]
    fn the_version_of_this_machines_glibc() {
        let Some(libc) = local_libc() else { return };
        let glibc = read(&libc).unwrap();
        let said = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap().stdout;
        let (major, minor) = glibc.version;
        assert_eq!(String::from_utf8(said).unwrap().trim(), format!("glibc {major}.{minor}"));
        assert!(glibc.is_for(Architecture::Amd64) != glibc.is_for(Architecture::Arm64));
    }

    #[test]
    fn any_damage_is_survived() {
        let Some(mut libc) = local_libc() else { return };
        for cut in (0..libc.len()).step_by(libc.len() / 997) {
            read(&libc[..cut]);
        }
        // The headers and the tables they lead to, overwritten a bit at a time.
        for at in (0..4096).chain(libc.len() - 64..libc.len()) {
            let was = std::mem::replace(&mut libc[at], 0xff);
            read(&libc);
            libc[at] = was;
        }
        assert_eq!(read(b"\x7fELF\x02\x01"), None);
        assert_eq!(read(b"not an ELF file"), None);
    }

    fn local_libc() -> Option<Vec<u8>> {
        let places = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
        let found = places.iter().find_map(|place| std::fs::read(place).ok());
        need("a glibc where distributions put it", From::Machine, found.is_some());
        found
    }
}
