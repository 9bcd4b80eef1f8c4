//! One container: what it may, and how it ended.

use std::{
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use pixi_oci_platform::{MaxOf, maximum};

use crate::{Error, HARDENING, Log, Session};

/// A user and group that no image knows, and that are in every range of 65536 subordinate users.
pub const ARBITRARY_USER: &str = "12345:12345";
/// How often is looked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// More files at once than programs need that are no servers.
const MAX_FILES: u64 = 65_536;
const MAX_PROCESSES: u64 = 4096;
/// Each place of its own in memory that a container may write to; the root is read-only.
const TEMPORARY: [(&str, &str); 3] = [("/tmp", "1g"), ("/var/tmp", "256m"), ("/run", "64m")];

/// What is run: with a read-only root, no network, no rights.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// What [`Podman::pull`](crate::Podman::pull) gave.
    pub image: &'a str,
    /// In place of the image's entrypoint.
    pub entrypoint: Option<&'a str>,
    /// In place of the image's command; empty for the image's.
    pub command: &'a [String],
    /// As whom: [`ARBITRARY_USER`], or the image's.
    pub user: &'a str,
    /// Over the image's variables.
    pub environment: &'a [(String, String)],
    /// In place of the image's working directory.
    pub workdir: Option<&'a str>,
    pub mounts: &'a [Mount],
}

/// A directory or file of this machine in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub writable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exact command that was run on this machine.
    pub command: Vec<String>,
    /// The exit status of what ran, 128 and the signal's number if a signal ended it; 126 and 127 also if it could not
    /// be started.
    pub code: i32,
    /// From the start of podman to its end.
    pub elapsed: Duration,
    /// The last lines of stderr, without control characters.
    pub said: String,
}

impl Session {
    /// Runs a container to its end; standard input is empty.
    ///
    /// # Errors
    ///
    /// podman could not run it, which is not the image's fault; it was interrupted.
    pub fn run(&self, container: &Container<'_>, logs: (&Log, &Log), interrupted: &AtomicBool) -> Result<Ended, Error> {
        let name = "checked";
        let mut command = self.podman.command();
        command.args(container.arguments(name, &Limits::of_this_process()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let begin = Instant::now();
        let mut child = command.spawn().map_err(Error::io("start podman"))?;
        let closed = || Error::io("read from podman")(std::io::ErrorKind::BrokenPipe.into());
        let stdout = logs.0.take(child.stdout.take().ok_or_else(closed)?)?;
        let stderr = logs.1.take(child.stderr.take().ok_or_else(closed)?)?;
        let status = wait(&mut child, interrupted)?;
        let elapsed = begin.elapsed();
        let _ = stdout.join();
        let said = stderr.join().unwrap_or_default();
        let code = status.code().unwrap_or(-1);
        // podman's own failures are 125, and so may be the exit status of what ran.
        let failed = match code {
            125 => !self.has_run(name),
            _ => code < 0,
        };
        let removed = self.podman.output(&["rm", "--force", "--ignore", "--volumes", name]);
        if failed {
            return Err(Error::Failed { what: "run".into(), said });
        }
        removed?;
        Ok(Ended { command: words, code, elapsed, said })
    }

    fn has_run(&self, name: &str) -> bool {
        let state = self.podman.output(&["container", "inspect", "--format", "{{.State.Status}}", name]);
        state.is_ok_and(|state| state.trim() == "exited")
    }
}

fn wait(child: &mut Child, interrupted: &AtomicBool) -> Result<ExitStatus, Error> {
    loop {
        if let Some(status) = child.try_wait().map_err(Error::io("wait for podman"))? {
            return Ok(status);
        }
        if interrupted.load(Ordering::Relaxed) {
            // The container itself ends with the session.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::Interrupted);
        }
        std::thread::sleep(POLL);
    }
}

impl Container<'_> {
    fn arguments(&self, name: &str, limits: &Limits) -> Vec<String> {
        let mut arguments: Vec<String> = vec!["run".into(), "--name".into(), name.into()];
        arguments.extend(HARDENING.map(str::to_owned));
        arguments.extend(["--read-only", "--read-only-tmpfs=false", "--user", self.user].map(str::to_owned));
        for (place, size) in TEMPORARY {
            arguments.extend(["--tmpfs".into(), format!("{place}:rw,exec,nosuid,nodev,mode=1777,size={size}")]);
        }
        arguments.extend(limits.arguments());
        // Nobody's home; what podman would choose is the working directory, which is read-only.
        arguments.extend(["--env".into(), "HOME=/tmp".into()]);
        for (name, value) in self.environment {
            arguments.extend(["--env".into(), format!("{name}={value}")]);
        }
        if !self.mounts.is_empty() {
            // SELinux would have to relabel the user's files.
            arguments.extend(["--security-opt".into(), "label=disable".into()]);
        }
        for mount in self.mounts {
            arguments.extend(["--mount".into(), mount.option()]);
        }
        if let Some(workdir) = self.workdir {
            arguments.extend(["--workdir".into(), workdir.into()]);
        }
        if let Some(entrypoint) = self.entrypoint {
            arguments.push(format!("--entrypoint={entrypoint}"));
        }
        arguments.push(self.image.into());
        arguments.extend(self.command.iter().cloned());
        arguments
    }
}

impl Mount {
    /// A value for `--mount`, which is a line of CSV.
    fn option(&self) -> String {
        let field =
            |text: String| if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text };
        let access = if self.writable { "rw=true" } else { "ro=true" };
        format!(
            "type=bind,{},{},{access}",
            field(format!("source={}", self.source.display())),
            field(format!("target={}", self.target)),
        )
    }
}

/// A container may not raise limits above those of whoever starts it.
pub(crate) struct Limits {
    files: u64,
    processes: u64,
}

impl Limits {
    pub(crate) fn of_this_process() -> Self {
        let at_most = |of, most| maximum(of).map_or(most, |maximum| maximum.min(most));
        Self { files: at_most(MaxOf::Files, MAX_FILES), processes: at_most(MaxOf::Processes, MAX_PROCESSES) }
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let limits = [("nofile", self.files), ("nproc", self.processes), ("core", 0)];
        limits.iter().flat_map(|(limit, value)| ["--ulimit".to_owned(), format!("{limit}={value}:{value}")]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_may_nothing() {
        let command = ["sh".to_owned(), "-c".to_owned(), "id".to_owned()];
        let mounts = [Mount { source: "/a,b".into(), target: "/product".into(), writable: false }];
        let container = Container {
            image: "0123",
            entrypoint: None,
            command: &command,
            user: ARBITRARY_USER,
            environment: &[],
            workdir: None,
            mounts: &mounts,
        };
        let said = container.arguments("x", &Limits { files: 1024, processes: 50 }).join(" ");
        for words in [
            "--network none",
            "--pull never",
            "--cap-drop all",
            "--security-opt no-new-privileges",
            "--read-only ",
            "--user 12345:12345",
            "--ulimit nofile=1024:1024",
            "--ulimit nproc=50:50",
            "--ulimit core=0:0",
            "--mount type=bind,\"source=/a,b\",target=/product,ro=true",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(said.ends_with(" 0123 sh -c id"), "{said}");
        assert!(!said.contains("privileged "), "{said}");
    }
}
