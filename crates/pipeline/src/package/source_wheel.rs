//! A wheel that stands for a locked source.

use std::{
    io,
    path::{Path, PathBuf},
};

use pixi_oci_layer::DigestWriter;
use pixi_oci_lock::Sha256;
use pixi_oci_platform::{Links, cannot, open};
use pixi_oci_wheel::{DirectUrl, WheelExpected, read_wheel};

use crate::{Error, report::WheelSource};

/// The wheel of a locked source. It was read once, so it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceWheel {
    /// The PEP 503 name.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    pub file_name: String,
    /// The file, which nobody else writes to.
    pub path: PathBuf,
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Who made it; not [`WheelSource::Lock`].
    pub origin: WheelSource,
    /// Of a directory of the workspace: where it is, from the workspace's root (empty for the root itself).
    pub directory: Option<PathBuf>,
    /// What `direct_url.json` says of the source; `None` for one of an index, and for a directory of the workspace.
    pub direct_url: Option<DirectUrl>,
}

impl SourceWheel {
    /// Reads the wheel at `path`, which must be one of that name and version.
    pub fn read(
        path: &Path,
        name: &str,
        version: &str,
        origin: WheelSource,
        directory: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let expected =
            WheelExpected { name: name.to_owned(), version: version.to_owned(), file_name: file_name.clone() };
        read_wheel(path, &expected)?;
        let (sha256, size) = hash(path).map_err(cannot("read", path))?;
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            file_name,
            path: path.to_owned(),
            sha256,
            size,
            origin,
            directory,
            direct_url: None,
        })
    }
}

pub fn hash(path: &Path) -> io::Result<(Sha256, u64)> {
    let mut writer = DigestWriter::new(io::sink());
    io::copy(&mut open(path, Links::Follow)?, &mut writer)?;
    let (digest, size, _) = writer.finish();
    Ok((Sha256::from_bytes(*digest.as_bytes()), size))
}
