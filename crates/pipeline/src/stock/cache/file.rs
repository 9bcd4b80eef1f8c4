//! Small files that are there wholly or not at all.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pixi_oci_platform::Links;
use serde::{Serialize, de::DeserializeOwned};

/// `DIR/ab/abcdefEXTENSION` for the hex digits `abcdef`.
pub fn path_of(directory: &Path, hex: &str, extension: &str) -> PathBuf {
    directory.join(hex.get(..2).unwrap_or_default()).join(format!("{hex}{extension}"))
}

/// The JSON document at `path`, if there is one of at most `limit` bytes that is a `T`.
pub fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Option<T> {
    serde_json::from_slice(&pixi_oci_platform::read(path, Links::Refuse, limit).ok()?).ok()
}

/// Puts a JSON document at `path`, in the place of what was there.
pub fn write(path: &Path, document: &impl Serialize) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    // Others may share the cache; what is in it is no secret.
    let permissions = Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".new-").permissions(permissions).tempfile_in(directory)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
