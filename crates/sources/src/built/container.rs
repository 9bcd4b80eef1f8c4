//! One build in a container: rootless podman, no network, no file of this machine.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use pixi_oci_podman::{Account, HARDENING};

use super::{
    BuildError,
    conversation::{Check, DRIVER, Order, Run, build},
};

/// Marks our images, so that those of killed builds can be found.
pub const LABEL: &str = "io.pixi-oci.sources";

/// podman as an ordinary user.
#[derive(Debug, Clone)]
pub struct Podman {
    /// Ours, among all that use the same storage.
    mark: String,
    podman: pixi_oci_podman::Podman,
}

/// An image that containers are made of. Removed when dropped.
#[derive(Debug)]
pub struct Image {
    podman: Podman,
    id: String,
}

impl Podman {
    /// Finds out whether podman can be used. `mark` tells images of one cache from those of others.
    pub fn new(mark: String) -> Result<Self, BuildError> {
        if Account::own().is_root() {
            return Err(BuildError::Podman {
                reason: "as root its containers would run as root of this machine; run pixi-oci as an ordinary user"
                    .into(),
            });
        }
        let podman = Self { mark, podman: pixi_oci_podman::Podman::of_user() };
        podman.output(&["version", "--format", "{{.Client.Version}}"])?;
        Ok(podman)
    }

    fn output(&self, arguments: &[&str]) -> Result<String, BuildError> {
        Ok(self.podman.output(arguments)?)
    }

    /// The label of our images.
    pub fn label(&self) -> (&'static str, &str) {
        (LABEL, &self.mark)
    }

    /// Removes the images that killed builds left. Only for who holds the lock of the cache.
    pub fn sweep(&self) {
        // What is left is of no harm but the room it takes.
        let _ =
            self.output(&["image", "prune", "--all", "--force", "--filter", &format!("label={LABEL}={}", self.mark)]);
    }

    /// The name of the directory that [`Podman::image`] wants a layout in.
    pub fn directory(&self, architecture: &str) -> String {
        let mark: String = self.mark.chars().take(16).collect();
        format!("pixi-oci-{mark}-{architecture}")
    }

    /// Takes over the image in the OCI layout [`Podman::directory`] of `parent`.
    pub fn image(&self, parent: &Path, tag: &str, architecture: &str) -> Result<Image, BuildError> {
        let id = self.podman.pull(parent, &self.directory(architecture), Some(tag), architecture)?;
        Ok(Image { podman: self.clone(), id })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.podman.output(&["rmi", "--force", &self.id]);
    }
}

impl Image {
    /// Builds the wheel of the source in `tar` into `directory`, and gives its path. `check` judges what the backend wants
    /// before it builds.
    pub fn build(
        &self,
        run: &Run<'_>,
        order: &Order,
        tar: &mut File,
        directory: &Path,
        check: Check<'_>,
    ) -> Result<PathBuf, BuildError> {
        build(self.command(run), run, order, tar, directory, check)
    }

    fn command(&self, run: &Run<'_>) -> Command {
        let mut command = self.podman.podman.command();
        // A container may not raise limits above ours, and podman's defaults would.
        command.args(["run", "--rm", "--interactive"]).args(HARDENING).args(["--ulimit", "host", "--workdir", "/"]);
        for (name, value) in run.variables("/tmp/pixi-oci/home") {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.args([self.id.as_str(), run.python, "-c", DRIVER]);
        command
    }
}
