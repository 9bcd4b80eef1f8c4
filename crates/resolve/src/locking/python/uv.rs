//! Running uv: with nothing of this machine's configuration, and without running code of packages.

use std::{
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    lockfile::redact_words,
    solve::{SolveError, until},
};

/// The `uv` program, which chooses Python packages.
#[derive(Debug, Clone)]
pub struct Uv {
    /// The program.
    pub program: PathBuf,
    /// All of its environment: where a Python is found (`PATH`), logins (`HOME`), proxies and certificates.
    pub environment: Vec<(OsString, OsString)>,
}

/// What is said of a failure at most.
const MAX_MESSAGE: u64 = 16 << 10;

/// Why there is no answer.
pub(super) enum UvError {
    Interrupted,
    /// It says why, redacted.
    Failed(String),
}

impl Uv {
    /// Runs it in a directory, until it ends or is not wanted any more.
    pub(super) async fn run(
        &self,
        directory: &Path,
        arguments: &[OsString],
        interrupted: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), UvError> {
        let failed = |error: std::io::Error| UvError::Failed(format!("cannot run {}: {error}", self.program.display()));
        let said = directory.join("said");
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).map_err(failed)?)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        match until(interrupted, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(_)) => Err(UvError::Failed(message(&said))),
            Ok(Err(error)) => Err(failed(error)),
            Err(SolveError::Interrupted) => Err(UvError::Interrupted),
            Err(error) => Err(UvError::Failed(error.to_string())),
        }
    }
}

/// What it said, without colours and secrets.
fn message(path: &Path) -> String {
    let mut bytes = Vec::new();
    // Without a message the failure is told all the same.
    let _ = File::open(path).and_then(|file| file.take(MAX_MESSAGE).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(redact_words).collect();
    let text = lines.join("\n");
    text.trim().trim_start_matches("error: ").to_owned()
}
