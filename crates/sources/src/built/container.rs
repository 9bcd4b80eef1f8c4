//! One build in a container: rootless podman, no network, no file of this machine.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use pixi_oci_podman::{Account, Session};

use super::{
    BuildError,
    conversation::{DRIVER, Run, build},
};

/// podman with a storage of its own, which goes away with it.
#[derive(Debug)]
pub struct Podman(Session);

impl Podman {
    /// Finds out whether containers can run. What earlier runs left is removed, and said.
    pub fn open(scratch: &Path, path: &std::ffi::OsStr, say: impl Fn(String)) -> Result<Self, BuildError> {
        if Account::own().is_root() {
            return Err(BuildError::Podman {
                reason: "as root its containers would run as root of this machine; run pixi-oci as an ordinary user"
                    .into(),
            });
        }
        let session = Session::open(scratch, path, None)?;
        for left in &session.swept {
            say(format!("removed {}, which an interrupted run left", left.display()));
        }
        Ok(Self(session))
    }

    /// The name of the directory that [`Podman::image`] wants a layout in. Images are named after it.
    pub fn directory(architecture: &str) -> String {
        format!("pixi-oci-environment-{architecture}")
    }

    /// Takes over the image in the OCI layout [`Podman::directory`] of `parent`, and gives its identifier.
    pub fn image(&self, parent: &Path, tag: &str, architecture: &str) -> Result<String, BuildError> {
        Ok(self.0.podman.pull(parent, &Self::directory(architecture), Some(tag), architecture)?)
    }

    /// Builds the wheel of the source in `tar` in a container of an image, and gives its path.
    pub fn build(&self, image: &str, run: &Run<'_>, tar: &mut File) -> Result<PathBuf, BuildError> {
        let command = self.0.conversation(image, &run.variables("/tmp/pixi-oci/home"), &[run.python, "-c", DRIVER]);
        build(command, run, tar)
    }
}
