//! A wheel that stands for a locked source.

use std::{
    fmt, io,
    io::Read,
    path::{Path, PathBuf},
};

use pixi_oci_lock::Sha256;
use pixi_oci_platform::{Links, open};
use pixi_oci_wheel::{DirectUrl, WheelExpected, read_wheel};
use serde::Serialize;
use sha2::Digest as _;

/// The wheel of a locked source. It was read once, so it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceWheel {
    /// The PEP 503 name.
    pub name: String,
    /// The PEP 440 version.
    pub version: String,
    /// The wheel's file name.
    pub file_name: String,
    /// The file, which nobody else writes to.
    pub path: PathBuf,
    /// Of the file.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Who made it.
    pub origin: WheelOrigin,
    /// Of a directory of the workspace: where it is, from the workspace's root (empty for the root itself).
    pub directory: Option<PathBuf>,
    /// What `direct_url.json` says of the source; `None` for one of an index, and for a directory of the workspace.
    pub direct_url: Option<DirectUrl>,
}

/// Who made a wheel of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WheelOrigin {
    /// Somebody, elsewhere.
    Injected,
    /// Its build backend, in a container.
    Built,
    /// This program, of files of the workspace; it belongs to the application layer.
    Own,
}

/// A file is not the wheel that it should be.
#[derive(Debug, thiserror::Error)]
pub enum SourceWheelError {
    #[error(transparent)]
    Package(#[from] pixi_oci_package::Error),
    #[error("cannot read {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl fmt::Display for WheelOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Injected => "injected",
            Self::Built => "built",
            Self::Own => "own",
        })
    }
}

impl SourceWheel {
    /// Reads the wheel at `path`, which must be one of that name and version.
    pub fn read(
        path: &Path,
        name: &str,
        version: &str,
        origin: WheelOrigin,
        directory: Option<PathBuf>,
    ) -> Result<Self, SourceWheelError> {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let expected =
            WheelExpected { name: name.to_owned(), version: version.to_owned(), file_name: file_name.clone() };
        read_wheel(path, &expected)?;
        let (sha256, size) = hash(path).map_err(|source| SourceWheelError::Io { path: path.into(), source })?;
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

/// The sha256 of a file, and its length.
pub fn hash(path: &Path) -> std::io::Result<(Sha256, u64)> {
    let mut file = open(path, Links::Follow)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Sha256::from_bytes(hasher.finalize().into()), size)),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}
