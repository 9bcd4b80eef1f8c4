//! One build on this machine, as the user: for machines on which no containers can be run, because they are containers.
//!
//! The environment is written to a prefix that goes away. Nothing is inherited: not a variable, and not the network where
//! the kernel lets a user have a network of his own. But the build can read every file that the user can.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pixi_oci_platform::{ISOLATED, Links, read_text};

use super::{
    BuildError,
    conversation::{DRIVER, Run, build},
};

/// Where shells and programs that no package has are looked for. A build must not depend on the `PATH` of who calls us.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An environment on this machine. Removed when dropped.
#[derive(Debug)]
pub struct Host {
    directory: PathBuf,
    alone: bool,
}

impl Host {
    /// An environment in a directory, which is removed in the end, whatever is in it.
    pub fn new(directory: PathBuf, alone: bool) -> Self {
        Self { directory, alone }
    }

    /// Whether the kernel lets this user have a network of his own.
    pub fn can_be_alone() -> bool {
        let [program, arguments @ ..] = ISOLATED else { return false };
        let mut probe = Command::new(program);
        probe.args(arguments).arg("true").env_clear().env("PATH", PATH);
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }

    /// Where the environment goes in such a directory.
    pub fn prefix_in(directory: &Path) -> PathBuf {
        directory.join("env")
    }

    /// The script that sets it up.
    pub fn activate_in(directory: &Path) -> PathBuf {
        directory.join("activate.sh")
    }

    /// As an image of a container builds.
    pub fn build(&self, run: &Run<'_>, tar: &mut File) -> Result<PathBuf, BuildError> {
        let io = |source| BuildError::Io { package: run.package.to_owned(), source };
        let place = self.directory.join("build");
        std::fs::create_dir(&place).map_err(io)?;
        let made = std::fs::create_dir(place.join("tmp")).map_err(io);
        let path = made.and_then(|()| build(self.command(run, &place), run, tar));
        std::fs::remove_dir_all(&place).map_err(io)?;
        path
    }

    fn command(&self, run: &Run<'_>, place: &Path) -> Command {
        let own = Self::prefix_in(&self.directory).join("bin/bash");
        let shell = [own.as_path(), Path::new("/bin/bash")].into_iter().find(|shell| shell.is_file());
        let words =
            ISOLATED.iter().filter(|_| self.alone).map(Path::new).chain([shell.unwrap_or(Path::new("/bin/sh"))]);
        let mut words = words.map(Path::as_os_str);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(["-c", ". \"$0\"; exec \"$@\""]).arg(Self::activate_in(&self.directory));
        command.args([run.python, "-c", DRIVER]);
        command.env_clear().env("PATH", PATH).env("TMPDIR", place.join("tmp"));
        command.envs(run.variables(&place.join("home").to_string_lossy()));
        // An interruption by the terminal is for us, and the build ends as a whole.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.current_dir(place);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a build has of the network, to go after what was built.
pub fn network(alone: bool) -> &'static str {
    if alone { "without a network" } else { "with the network, which could not be cut off" }
}

/// What a wheel depends on that no lock file names, as far as this machine says it in one word: the release of its system.
pub fn system() -> String {
    let release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| read_text(Path::new(path), Links::Follow, 1 << 16).ok());
    release.unwrap_or_default()
}
