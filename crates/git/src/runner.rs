//! How git is run.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pixi_oci_platform::stripped;

/// More output is not read: lists of the files of a repository.
const MAX_OUTPUT: u64 = 256 << 20;
const MAX_COMPLAINT: u64 = 64 << 10;
/// Variables that would name another repository, or programs, in place of the arguments.
const REMOVED: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_EXTERNAL_DIFF",
];
/// Over every configuration. Repositories of other users are fine, because nothing of them runs.
const SETTINGS: [&str; 6] = [
    "core.fsmonitor=",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "diff.external=",
    "safe.directory=*",
    "protocol.allow=never",
];
/// As git says it.
const NO_REPOSITORY: &str = "fatal: not a git repository (or any of the parent directories): .git";
/// The protocols that are spoken where something is fetched.
const PROTOCOLS: [&str; 3] = ["https", "ssh", "file"];

#[derive(Debug, Clone)]
pub struct Git {
    directory: PathBuf,
    settings: Vec<String>,
    /// Whether filters could not be named, so that they would run.
    pub(crate) blind: bool,
    fetches: bool,
    /// Over what is set for all.
    pub(crate) variables: Vec<(&'static str, OsString)>,
}

/// git could not be run, or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("git {subcommand} in {}: {said}", directory.display())]
pub struct GitError {
    pub subcommand: String,
    pub directory: PathBuf,
    /// Its complaint, without control characters.
    pub said: String,
}

impl Git {
    /// git that looks at the repository that a directory, or one above it, is the working tree of. It has no network.
    pub fn at(directory: &Path) -> Self {
        Self::new(directory, false)
    }

    /// git whose repository is an own directory, such as one that [`Git::run`] is to `init`, and that fetches by https, ssh
    /// and from files.
    pub fn own(directory: &Path) -> Self {
        Self::new(directory, true)
    }

    fn new(directory: &Path, own: bool) -> Self {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let settings = SETTINGS.map(str::to_owned).to_vec();
        let variables = if own { vec![("GIT_DIR", ".".into())] } else { Vec::new() };
        let mut git = Self { directory: directory.to_owned(), settings, blind: false, fetches: own, variables };
        // Programs that convert files are named in the configuration of the repository and chosen by its attributes.
        let keys = git.read(&["config", "--null", "--name-only", "--get-regexp", r"^filter\."]).unwrap_or_default();
        for key in keys.split(|byte| *byte == 0).filter(|key| !key.is_empty()) {
            match std::str::from_utf8(key).ok().and_then(|key| key.rsplit_once('.')) {
                // A setting on the command line ends at the first `=`.
                Some((filter, _)) if !filter.contains(['=', '\n']) => {
                    for key in ["clean=", "smudge=", "process=", "required=false"] {
                        git.settings.push(format!("{filter}.{key}"));
                    }
                }
                _ => git.blind = true,
            }
        }
        if own {
            git.settings.extend(PROTOCOLS.map(|protocol| format!("protocol.{protocol}.allow=always")));
        }
        git
    }

    /// The same in another directory of the repository.
    pub(crate) fn in_directory(&self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self.clone() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a subcommand for what it does.
    pub fn run(&self, arguments: &[&str]) -> Result<(), GitError> {
        self.output(arguments).map(|_| ())
    }

    /// The first line that a subcommand prints that looks at no file of the working tree; `None` where it fails.
    pub(crate) fn line(&self, arguments: &[&str]) -> Option<String> {
        let output = String::from_utf8(self.read(arguments).ok()?).ok()?;
        let line = output.lines().next()?.trim();
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// What a subcommand prints.
    pub fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        if self.blind {
            let said = "its configuration has a filter with a name that cannot be switched off";
            return Err(self.failed(arguments, said.into()));
        }
        self.read(arguments)
    }

    fn failed(&self, arguments: &[&str], said: String) -> GitError {
        let subcommand = arguments.first().map(|word| (*word).to_owned()).unwrap_or_default();
        GitError { subcommand, directory: self.directory.clone(), said }
    }

    fn read(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let failed = |said: String| self.failed(arguments, said);
        if !self.fetches {
            // git would look for it, too, and takes longer.
            let repository = repository(&self.directory).ok_or_else(|| failed(NO_REPOSITORY.into()))?;
            if let Some(odd) = not_a_file(&repository) {
                return Err(failed(format!("{} is neither a file nor a directory", odd.display())));
            }
        }
        let mut child =
            self.command(arguments).spawn().map_err(|error| failed(format!("it cannot be run: {error}")))?;
        let complaint = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let mut stderr = stderr.take(MAX_COMPLAINT);
                let _ = stderr.read_to_end(&mut said);
                // What is left is read, too, so that git does not wait.
                let _ = std::io::copy(&mut stderr.into_inner(), &mut std::io::sink());
                said
            })
        });
        let mut output = Vec::new();
        let read = child.stdout.take().map(|stdout| stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output));
        let too_much = output.len() as u64 > MAX_OUTPUT;
        if too_much {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        let said = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if too_much || matches!(read, Some(Err(_))) {
            return Err(failed(format!("it printed more than {MAX_OUTPUT} bytes, or its output broke off")));
        }
        if !status.success() {
            let said: String = stripped(&said).chars().take(2000).collect();
            return Err(failed(if said.trim().is_empty() { status.to_string() } else { said.trim().to_owned() }));
        }
        Ok(output)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        command.args(arguments).current_dir(&self.directory);
        for name in REMOVED {
            command.env_remove(name);
        }
        // A partial clone would fetch what it lacks, with programs that its configuration names.
        let protocols = if self.fetches { PROTOCOLS.join(":") } else { "none".to_owned() };
        command.env("GIT_ALLOW_PROTOCOL", protocols).env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The `.git` of the working tree that a directory is in.
fn repository(directory: &Path) -> Option<PathBuf> {
    directory
        .canonicalize()
        .ok()?
        .ancestors()
        .map(|above| above.join(".git"))
        .find(|path| path.symlink_metadata().is_ok())
}

/// What git would open and wait for in a repository, such as a named pipe.
fn not_a_file(repository: &Path) -> Option<PathBuf> {
    let inside = ["HEAD", "commondir", "config", "config.worktree", "index", "packed-refs", "shallow", "info/exclude"];
    let read = inside.map(|name| repository.join(name));
    std::iter::once(repository.to_owned())
        .chain(read)
        .find(|path| path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()))
}
