//! The conversation with a build, wherever it runs.
//!
//! Source and wheel go through pipes ([`DRIVER`] is at the other end). The build ends when its input does: whoever
//! kills this program, in whatever way, kills the build.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use pixi_oci_podman::{NOT_STARTED, tail};
use serde::{Deserialize, Serialize};

use super::BuildError;

pub const DRIVER: &str = include_str!("driver.py");
/// The longest line of an answer: names of requirements.
const MAX_LINE: u64 = 1 << 20;
/// The biggest wheel: far more than any that was ever built from a source archive.
const MAX_WHEEL: u64 = 4 << 30;
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The length of the tar.
    pub bytes: u64,
    /// Where the project is in it; empty for its root.
    pub directory: String,
    /// `MODULE` or `MODULE:OBJECT`.
    pub backend: String,
    /// Directories of the project where the backend is.
    pub backend_path: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct BuildRequires {
    requires: Vec<String>,
}

#[derive(Deserialize)]
struct Made {
    wheel: String,
    bytes: u64,
}

pub struct Run<'a> {
    pub package: &'a str,
    /// The interpreter's path where it runs.
    pub python: &'a str,
    pub epoch: i64,
    pub interrupted: &'a AtomicBool,
    /// Whether the build leads a process group of its own, which ends with it.
    pub group: bool,
    pub order: &'a Order,
    pub directory: &'a Path,
    pub check: Check<'a>,
}

/// Judges what a backend wants before it builds.
pub type Check<'a> = &'a dyn Fn(&[String]) -> Result<(), BuildError>;

impl Run<'_> {
    /// The variables of every build.
    pub fn variables(&self, home: &str) -> [(&'static str, String); 7] {
        [
            ("HOME", home.to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("PYTHONHASHSEED", "0".to_owned()),
            ("PYTHONNOUSERSITE", "1".to_owned()),
            ("SOURCE_DATE_EPOCH", self.epoch.to_string()),
            ("TZ", "UTC".to_owned()),
        ]
    }

    fn kill(&self, child: &mut Child) {
        if self.group {
            pixi_oci_platform::kill_group(child.id());
        }
        let _ = child.kill();
    }
}

/// Builds the wheel of the source in `tar` with a command that runs [`DRIVER`], and gives its path.
pub fn build(mut command: Command, run: &Run<'_>, tar: &mut File) -> Result<PathBuf, BuildError> {
    let io = |source| BuildError::Io { package: run.package.to_owned(), source };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(io)?;
    let said = child.stderr.take().map(tail);
    let answered = Cell::new(false);
    let check = |requires: &[String]| {
        answered.set(true);
        (run.check)(requires)
    };
    let result = converse(&mut child, &Run { check: &check, ..*run }, tar);
    // The end of its input ends the container, if it has not ended.
    drop(child.stdin.take());
    if result.is_err() {
        drop(child.stdout.take());
    }
    let status = child.wait().map_err(io)?;
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    // An environment on this machine is not a container: there, the shell ends like this.
    let not_started = !run.group && !answered.get() && status.code().is_some_and(|code| NOT_STARTED.contains(&code));
    match result {
        Err(BuildError::Io { .. }) if not_started => {
            Err(BuildError::Start { package: run.package.to_owned(), status: status.to_string(), said })
        }
        Ok(path) if status.success() => Ok(path),
        Ok(_) => Err(BuildError::Failed { package: run.package.to_owned(), status: status.to_string(), said }),
        // It died in the middle of what it said.
        Err(BuildError::Io { .. }) if !status.success() => {
            Err(BuildError::Failed { package: run.package.to_owned(), status: status.to_string(), said })
        }
        Err(error) => Err(error),
    }
}

fn converse(child: &mut Child, run: &Run<'_>, tar: &mut File) -> Result<PathBuf, BuildError> {
    let io = |source| BuildError::Io { package: run.package.to_owned(), source };
    let closed = || io(io::Error::other("a pipe is missing"));
    let mut input = child.stdin.take().ok_or_else(closed)?;
    let output = child.stdout.take().ok_or_else(closed)?;
    let path = run.directory.join("wheel");
    let mut file = File::create(&path).map_err(io)?;
    tar.rewind().map_err(io)?;
    let mut tar = tar.try_clone().map_err(io)?;
    let line = serde_json::to_string(run.order).map_err(|error| io(error.into()))?;
    let (orders, ordered) = mpsc::channel::<()>();
    // Waits for the order to go, and for the end: its pipe closes when this function is left.
    let writer = std::thread::spawn(move || -> io::Result<()> {
        writeln!(input, "{line}")?;
        io::copy(&mut tar, &mut input)?;
        input.flush()?;
        while ordered.recv().is_ok() {
            input.write_all(b"go\n")?;
            input.flush()?;
        }
        Ok(())
    });
    let (answers, answered) = mpsc::channel::<io::Result<Answer>>();
    let reader = std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut read = || -> io::Result<()> {
            let wanted: BuildRequires = parse(&line_of(&mut output)?)?;
            let _ = answers.send(Ok(Answer::Wants(wanted.requires)));
            let made: Made = parse(&line_of(&mut output)?)?;
            if made.bytes > MAX_WHEEL {
                return Err(io::Error::other("the wheel is bigger than 4 GiB"));
            }
            let copied = io::copy(&mut output.by_ref().take(made.bytes), &mut file)?;
            if copied != made.bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let _ = answers.send(Ok(Answer::Made(made.wheel)));
            Ok(())
        };
        if let Err(error) = read() {
            let _ = answers.send(Err(error));
        }
    });
    let result = loop {
        match answered.recv_timeout(POLL) {
            Ok(Ok(Answer::Wants(requires))) => {
                if let Err(error) = (run.check)(&requires) {
                    break Err(error);
                }
                let _ = orders.send(());
            }
            Ok(Ok(Answer::Made(name))) => break named(run, &path, &name),
            Ok(Err(error)) => break Err(io(error)),
            Err(mpsc::RecvTimeoutError::Disconnected) => break Err(io(io::ErrorKind::UnexpectedEof.into())),
            Err(mpsc::RecvTimeoutError::Timeout) if run.interrupted.load(Ordering::Relaxed) => {
                break Err(BuildError::Interrupted);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    };
    drop(orders);
    if result.is_err() {
        // A writer that waits for a reader would wait for ever.
        run.kill(child);
    }
    let _ = writer.join();
    let _ = reader.join();
    result
}

enum Answer {
    Wants(Vec<String>),
    Made(String),
}

/// Gives the wheel its name, which must be one and nothing else.
fn named(run: &Run<'_>, path: &Path, name: &str) -> Result<PathBuf, BuildError> {
    let sound = name.ends_with(".whl") && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+!".contains(c));
    if !sound {
        return Err(BuildError::Name { package: run.package.to_owned(), name: name.escape_debug().to_string() });
    }
    let named = run.directory.join(name);
    std::fs::rename(path, &named).map_err(|source| BuildError::Io { package: run.package.to_owned(), source })?;
    Ok(named)
}

fn line_of(output: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    output.take(MAX_LINE).read_line(&mut line)?;
    if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn parse<T: for<'a> Deserialize<'a>>(line: &str) -> io::Result<T> {
    serde_json::from_str(line).map_err(io::Error::from)
}
