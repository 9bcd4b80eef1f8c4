//! Header and descriptors (github.com/apptainer/sif, `pkg/sif`).

use std::{fs::File, os::unix::fs::FileExt};

use oci_read::limits::{SIF_DEFFILE, SIF_DESCRIPTORS};

pub(super) struct FoundContainer {
    pub architecture: &'static str,
    deffile: Vec<u8>,
    /// Where the root file system is, and how long.
    pub partition: (u64, u64),
}

const HEADER: usize = 128;
const DESCRIPTOR: usize = 585;
const DEFFILE: u32 = 0x4001;
const PARTITION: u32 = 0x4004;
const SQUASHFS: u32 = 1;
const PRIMARY: u32 = 2;

impl FoundContainer {
    /// The manifest of the OCI image, as the definition file says.
    pub(super) fn manifest(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.deffile).ok()?;
        let digest = text.lines().find_map(|line| line.strip_prefix("from: "))?;
        oci_read::document::sha256(digest).map(|_| digest.to_owned())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

fn architecture(code: &[u8]) -> Result<&'static str, String> {
    match code {
        b"02\0" => Ok("amd64"),
        b"04\0" => Ok("arm64"),
        other => {
            Err(format!("its architecture is {:?}; expected 02 (amd64) or 04 (arm64)", String::from_utf8_lossy(other)))
        }
    }
}

/// Reads a container, or says what is wrong with it.
pub(super) fn read(file: &File) -> Result<FoundContainer, String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let bytes = |at: u64, size: usize| {
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, at).map_err(|error| format!("{size} bytes at {at}: {error}"))?;
        Ok::<_, String>(bytes)
    };
    let header = bytes(0, HEADER)?;
    if &header[32..42] != b"SIF_MAGIC\0" {
        return Err("it is no SIF: it has no SIF_MAGIC at byte 32".into());
    }
    if &header[42..45] != b"01\0" {
        return Err("it is not of version 01".into());
    }
    let own = architecture(&header[45..48])?;
    let [free, total, at, size, data_at, data_size] = [80, 88, 96, 104, 112, 120].map(|at| u64_at(&header, at));
    if total > SIF_DESCRIPTORS || free > total || size != total * DESCRIPTOR as u64 {
        return Err(format!("{total} descriptors of {size} bytes, of which {free} are free"));
    }
    let ends = |at: u64, size: u64| at.checked_add(size);
    if ends(at, size).is_none_or(|end| end > data_at) || ends(data_at, data_size) != Some(length) {
        return Err(format!("its data are {data_size} bytes at {data_at}; the file has {length}"));
    }
    let descriptors = bytes(at, size as usize)?;
    let used = descriptors.chunks_exact(DESCRIPTOR).enumerate().filter(|(_, descriptor)| descriptor[4] == 1);
    let (mut objects, mut deffile, mut partition) = (Vec::new(), None, None);
    for (index, descriptor) in used {
        let [kind, id] = [0, 5].map(|at| u32_at(descriptor, at));
        let (at, size) = (u64_at(descriptor, 17), u64_at(descriptor, 25));
        if id as usize != index + 1 {
            return Err(format!("descriptor {} has the id {id}", index + 1));
        }
        if at < data_at || ends(at, size).is_none_or(|end| end > length) {
            return Err(format!("object {id} is {size} bytes at {at}, which is not in the file's data"));
        }
        objects.push((at, at + size));
        match kind {
            DEFFILE if size <= SIF_DEFFILE => deffile = Some(bytes(at, size as usize)?),
            PARTITION if u32_at(descriptor, 205) == PRIMARY => {
                if u32_at(descriptor, 201) != SQUASHFS {
                    return Err("its root file system is no squashfs".into());
                }
                if architecture(&descriptor[209..212])? != own {
                    return Err("its root file system is of another architecture than its header".into());
                }
                if partition.replace((at, size)).is_some() {
                    return Err("it has two root file systems".into());
                }
            }
            _ => {}
        }
    }
    let count = objects.len() as u64;
    if count != total - free {
        return Err(format!("{count} descriptors are used; its header says {}", total - free));
    }
    objects.sort_unstable();
    if objects.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err("two objects share bytes".into());
    }
    let partition = partition.ok_or("it has no root file system")?;
    Ok(FoundContainer { architecture: own, deffile: deffile.unwrap_or_default(), partition })
}
