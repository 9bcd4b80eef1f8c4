//! How podman is called.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pixi_oci_platform::stripped;

use crate::{Account, Error};

/// What every container of ours is denied: the network, images from elsewhere, and all rights but those of its user.
pub const HARDENING: [&str; 8] =
    ["--network", "none", "--pull", "never", "--cap-drop", "all", "--security-opt", "no-new-privileges"];

#[derive(Debug, Clone)]
pub struct Podman {
    program: PathBuf,
    /// Before the subcommand.
    pub(crate) arguments: Vec<OsString>,
    /// All variables; `None` for those of this process.
    pub(crate) environment: Option<Vec<(&'static str, OsString)>>,
    /// Whom root becomes for it.
    pub(crate) account: Option<Account>,
    /// The process group that it joins.
    pub(crate) group: Option<i32>,
}

impl Podman {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, arguments: Vec::new(), environment: None, account: None, group: None }
    }

    /// The program with what comes before the subcommand; its standard input is empty.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir("/").stdin(Stdio::null());
        self.prepare(&mut command);
        command
    }

    /// The same user, variables and process group for another program.
    pub(crate) fn prepare(&self, command: &mut Command) {
        if let Some(environment) = &self.environment {
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        }
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        if let Some(group) = self.group {
            command.process_group(group);
        }
    }

    /// The program with what comes before the subcommand, as words.
    pub(crate) fn words(&self) -> Vec<OsString> {
        [self.program.clone().into_os_string()].into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// Runs a subcommand and gives what it prints.
    pub fn output<T: AsRef<OsStr>>(&self, arguments: &[T]) -> Result<String, Error> {
        self.output_in(Path::new("/"), arguments)
    }

    /// Takes over the image in the OCI layout `parent/name`, and gives its identifier. `name` must be in small letters,
    /// because podman names the image after it.
    pub fn pull(&self, parent: &Path, name: &str, tag: Option<&str>, architecture: &str) -> Result<String, Error> {
        // A path from the root would be in the name, too, capitals and all.
        let layout = tag.map_or_else(|| format!("oci:{name}"), |tag| format!("oci:{name}:{tag}"));
        let said = self.output_in(parent, &["pull", "--quiet", "--arch", architecture, &layout])?;
        Ok(said.lines().last().unwrap_or_default().trim().to_owned())
    }

    fn output_in<T: AsRef<OsStr>>(&self, directory: &Path, arguments: &[T]) -> Result<String, Error> {
        let what = arguments.first().map(|word| word.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        let failed = |said: String| Error::Failed { what: what.clone(), said };
        let output = self.command().args(arguments).current_dir(directory).output();
        let output = output.map_err(|error| failed(format!("it cannot be run: {error}")))?;
        if !output.status.success() {
            return Err(failed(stripped(&output.stderr).trim().to_owned()));
        }
        Ok(stripped(&output.stdout))
    }
}
