//! Finding and reading a workspace manifest; reading and replacing text files.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open};

use crate::Error;

/// The largest public manifests have 60 kB. As TOML in memory, and as features, a manifest takes some 250 times its length.
const MAX_MANIFEST: u64 = 1 << 20;

const PIXI: &str = "pixi.toml";
const PYPROJECT: &str = "pyproject.toml";

/// The manifest that `path` means: itself if it is a file, else the directory's `pixi.toml`, else its `pyproject.toml`
/// if that has a `[tool.pixi]` table (pixi's order).
pub(crate) fn manifest(path: &Path) -> Result<PathBuf, Error> {
    let absolute =
        std::path::absolute(path).map_err(|source| Error::Io { action: "find", path: path.to_owned(), source })?;
    let metadata =
        std::fs::metadata(&absolute).map_err(|source| Error::Io { action: "find", path: absolute.clone(), source })?;
    if !metadata.is_dir() {
        // Whatever else it is, it would only be an error of TOML.
        if absolute.extension().is_none_or(|extension| extension != "toml") {
            let message = format!("it is a file, but no {PIXI} or {PYPROJECT}");
            return Err(Error::NoWorkspace { path: absolute, message });
        }
        return Ok(absolute);
    }
    if let Some(manifest) = manifest_in(&absolute)? {
        return Ok(manifest);
    }
    let mut message = format!("it has neither a {PIXI} nor a {PYPROJECT} with a [tool.pixi] table");
    if let Some(parent) = absolute.ancestors().skip(1).find(|dir| matches!(manifest_in(dir), Ok(Some(_)))) {
        message.push_str(&format!("; there is a workspace above it, say its directory: {}", parent.display()));
    }
    Err(Error::NoWorkspace { path: absolute, message })
}

/// Whether a directory is a workspace's: it has a `pixi.toml`, or a `pyproject.toml` with pixi's tables.
pub fn is_workspace(directory: &Path) -> bool {
    matches!(manifest_in(directory), Ok(Some(_)))
}

fn manifest_in(directory: &Path) -> Result<Option<PathBuf>, Error> {
    let pixi = directory.join(PIXI);
    if pixi.is_file() {
        return Ok(Some(pixi));
    }
    let pyproject = directory.join(PYPROJECT);
    if pyproject.is_file() && read_text(&pyproject, MAX_MANIFEST)?.contains("[tool.pixi") {
        return Ok(Some(pyproject));
    }
    Ok(None)
}

/// Whether a manifest is a `pyproject.toml`, where pixi's tables are under `[tool.pixi]`.
pub(crate) fn is_pyproject(manifest: &Path) -> bool {
    manifest.file_name().is_some_and(|name| name == PYPROJECT)
}

pub(crate) fn read_manifest(path: &Path) -> Result<String, Error> {
    read_text(path, MAX_MANIFEST)
}

/// How a file begins that Git LFS has put in the place of the real one.
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/";

/// Reads a text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let error = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = open(path, Links::Follow).map_err(error)?;
    let mut text = String::new();
    let read = file.take(limit + 1).read_to_string(&mut text).map_err(error)?;
    if read as u64 > limit {
        return Err(Error::TooBig { path: path.to_owned(), limit });
    }
    if text.starts_with(LFS_POINTER) {
        return Err(Error::LfsPointer { path: path.to_owned() });
    }
    Ok(text)
}

/// Writes beside the place and moves it there. The mode is that of the file it replaces, else what the umask leaves.
pub fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    // A link stays a link.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".pixi-oci.")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(&target) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|failed| failed.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_countless_features_is_refused_before_it_is_parsed() {
        let directory = tempfile::tempdir().unwrap();
        let features: String = (0..100_000).map(|number| format!("[feature.f{number}]\n")).collect();
        std::fs::write(directory.path().join(PIXI), format!("[workspace]\nname = \"w\"\n{features}")).unwrap();
        let error = read_manifest(&directory.path().join(PIXI)).unwrap_err().to_string();
        assert!(error.contains("is bigger than 1048576 bytes"), "{error}");
    }
}
