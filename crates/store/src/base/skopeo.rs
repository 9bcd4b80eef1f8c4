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

use pixi_oci_cachedir::StagedDirectory;
use pixi_oci_image::Architecture;

use super::{Problem, store::Store};
use crate::Error;

/// How much of skopeo's complaint an error repeats, in characters.
const MAX_OUTPUT: usize = 2000;

/// An image in the form of `dir:`; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Copied(StagedDirectory);

impl Copied {
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().join("image")
    }
}

/// Runs skopeo on a reference such as `containers-storage:localhost/image`.
pub(crate) async fn copy(
    reference: &str,
    architecture: Architecture,
    program: &Path,
    store: &Store,
) -> Result<Copied, Problem> {
    let copied = Copied(store.staging_directory()?);
    fs::create_dir(copied.dir()).map_err(Error::io("create", &copied.dir()))?;
    let mut to = std::ffi::OsString::from("dir:");
    to.push(copied.dir());
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
