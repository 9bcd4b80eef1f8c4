//! Whether a file is a program for a platform.

use std::{io::Read, path::Path};

use pixi_oci_platform::{
    Links,
    elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, Elf},
    open,
};

use crate::Error;

const MACHINES: [(&str, u16); 2] = [("linux-64", EM_X86_64), ("linux-aarch64", EM_AARCH64)];

/// Looks whether the file is a 64-bit little-endian ELF program for the conda platform.
pub fn check_program(path: &Path, platform: &str) -> Result<(), Error> {
    let wrong =
        |reason: &str| Error::NotAProgram { path: path.into(), platform: platform.into(), reason: reason.into() };
    let mut head = Vec::new();
    let file = open(path, Links::Follow).map_err(Error::io("read", path))?;
    file.take(Elf::HEADER).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let Some((_, machine)) = MACHINES.iter().find(|(name, _)| *name == platform) else {
        return Err(wrong("there are no programs for this platform"));
    };
    let Some((kind, found)) = Elf::new(&head).map(Elf::kind) else {
        return Err(wrong("it is no 64-bit ELF file"));
    };
    if !matches!(kind, ET_EXEC | ET_DYN) {
        return Err(wrong("it cannot be executed"));
    }
    if found != *machine {
        return Err(wrong("it is for another machine"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_for_one_machine() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p");
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
        head.resize(64, 0);
        std::fs::write(&path, &head).unwrap();
        check_program(&path, "linux-64").unwrap();
        assert!(check_program(&path, "linux-aarch64").unwrap_err().to_string().contains("another machine"));
        head[16] = 1;
        std::fs::write(&path, &head).unwrap();
        assert!(check_program(&path, "linux-64").is_err());
        std::fs::write(&path, "#!/bin/sh").unwrap();
        assert!(check_program(&path, "linux-64").unwrap_err().to_string().contains("no 64-bit ELF"));
    }
}
