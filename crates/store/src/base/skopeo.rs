//! Images that only skopeo can read: archives, and the storage of podman and docker.
//!
//! `skopeo copy SOURCE dir:DIR` keeps every byte that the source has, so that what we make of it depends on the image
//! alone and not on skopeo's compressor. Its image proxy would not need the copy, but skopeo 1.9 (Debian 12) cannot
//! read `containers-storage:` through it: the manifest names compressed layers, which the storage does not have.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use pixi_oci_image::Architecture;
use tempfile::NamedTempFile;

use super::{Problem, store::Store};
use crate::Error;

/// How much of skopeo's complaint an error repeats, in characters.
const MAX_OUTPUT: usize = 2000;

/// An image in the form of `dir:`; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Copied {
    dir: PathBuf,
    /// Tells other processes that the directory is in use; see [`sweep`].
    _lease: NamedTempFile,
}

impl Copied {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // What stays is removed by the next `sweep`.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs skopeo on a reference such as `containers-storage:localhost/image`.
pub(crate) async fn copy(
    reference: &str,
    architecture: Architecture,
    program: &Path,
    store: &Store,
) -> Result<Copied, Problem> {
    let lease = store.staging()?;
    let dir = dir_of(lease.path()).ok_or_else(|| Error::io("use", lease.path())(io::ErrorKind::InvalidInput.into()))?;
    fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
    let copied = Copied { dir, _lease: lease };
    let mut to = std::ffi::OsString::from("dir:");
    to.push(&copied.dir);
    let output = tokio::process::Command::new(program)
        .args(["--override-os", "linux", "--override-arch", architecture.as_str(), "copy", "--quiet", "--"])
        .args([OsStr::new(reference), &to])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Problem::NoSkopeo),
        Err(error) => return Err(Error::io("run", program)(error).into()),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        let tail = said.chars().count().saturating_sub(MAX_OUTPUT);
        return Err(Problem::Skopeo { status: output.status, output: said.chars().skip(tail).collect() });
    }
    Ok(copied)
}

/// Removes the directories of killed processes from the cache: those whose lease is no longer there.
pub(crate) fn sweep(cache_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cache_dir)? {
        let path = entry?.path();
        let Some(lease) = lease_of(&path) else { continue };
        // The lease is made before the directory and goes after it.
        if path.is_dir() && !lease.exists() {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
    }
    Ok(())
}

const DIR_SUFFIX: &str = ".dir";

fn dir_of(lease: &Path) -> Option<PathBuf> {
    Some(lease.with_file_name(format!("{}{DIR_SUFFIX}", lease.file_name()?.to_str()?)))
}

fn lease_of(dir: &Path) -> Option<PathBuf> {
    let name = dir.file_name()?.to_str()?.strip_suffix(DIR_SUFFIX)?;
    Some(dir.with_file_name(name))
}
