//! `--build-sdists=resolve`: uv finds what builds require and the environment does not have. Only wheels, so none of their
//! code runs; the result is pinned in [`FILE`](super::pins::FILE).

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use pixi_oci_platform::{Links, find_program, read_text};
use pixi_oci_podman::tail;
use pixi_oci_workspace::{FindLinks, PypiOptions};

use super::{BuildError, pins::MAX_BYTES};

/// An index that takes longer is down.
const DEADLINE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);

/// What is asked of uv.
pub struct Question<'a> {
    /// What has to be found, as PEP 508 says it.
    pub requirements: Vec<String>,
    /// What the environment has: what is found must go with it.
    pub installed: Vec<String>,
    /// The version of the environment's Python.
    pub python: &'a str,
    /// Where the workspace's Python packages come from.
    pub options: &'a PypiOptions,
    /// Nothing that was uploaded later.
    pub newest: Option<String>,
    /// The workspace, which relative paths start from.
    pub directory: &'a Path,
    /// The text of the file as it is: what it pins is kept where it can be.
    pub pinned: &'a str,
}

/// Answers a question with the text of the file.
pub fn resolve(question: &Question<'_>, path: &OsStr, interrupted: &AtomicBool) -> Result<String, BuildError> {
    let failed = |said: String| BuildError::Resolve { requirements: question.requirements.clone(), said };
    let io = |error: std::io::Error| failed(error.to_string());
    let uv = find_program("uv", path)
        .ok_or_else(|| failed("there is no `uv` on PATH; install it (pixi global install uv)".into()))?;
    let scratch = tempfile::tempdir().map_err(io)?;
    let wanted = scratch.path().join("requirements.in");
    std::fs::write(&wanted, question.requirements.join("\n")).map_err(io)?;
    let installed = scratch.path().join("installed.txt");
    std::fs::write(&installed, question.installed.join("\n")).map_err(io)?;
    // uv insists on this name, and keeps to what it finds there.
    let result = scratch.path().join("pylock.toml");
    if !question.pinned.is_empty() {
        std::fs::write(&result, question.pinned).map_err(io)?;
    }
    let mut command = command(&uv, question);
    command.arg("--constraints").arg(&installed).arg("--output-file").arg(&result).arg(&wanted);
    let mut child = command.spawn().map_err(io)?;
    let said = child.stderr.take().map(tail);
    let ended = wait(&mut child, interrupted);
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    match ended.map_err(io)? {
        Ended::Done => read_text(&result, Links::Refuse, MAX_BYTES).map_err(io),
        Ended::Failed => Err(failed(said.trim().to_owned())),
        Ended::Late => Err(failed(format!("uv did not end in {} minutes", DEADLINE.as_secs() / 60))),
        Ended::Interrupted => Err(BuildError::Interrupted),
    }
}

fn command(uv: &Path, question: &Question<'_>) -> Command {
    let mut command = Command::new(uv);
    command.args(["pip", "compile", "--quiet", "--universal", "--format", "pylock.toml", "--only-binary", ":all:"]);
    command.args([
        "--custom-compile-command",
        "pixi-oci build --build-sdists=resolve",
        "--python-version",
        question.python,
    ]);
    // Settings of a project that happens to be there are not the workspace's.
    command.arg("--no-config");
    let options = question.options;
    if let Some(index) = &options.index_url {
        command.args(["--index-url", index.as_str()]);
    }
    for index in &options.extra_index_urls {
        command.args(["--extra-index-url", index.as_str()]);
    }
    for links in &options.find_links {
        command.arg("--find-links").arg(match links {
            FindLinks::Path(path) => question.directory.join(path),
            FindLinks::Url(url) => PathBuf::from(url.as_str()),
        });
    }
    for (flag, value) in [
        ("--index-strategy", &options.index_strategy),
        ("--prerelease", &options.prerelease_mode),
        ("--exclude-newer", &question.newest),
    ] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    // The machine's own certificates, as for our own transfers; older versions know the second name.
    command.env("UV_SYSTEM_CERTS", "1").env("UV_NATIVE_TLS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

enum Ended {
    Done,
    Failed,
    Late,
    Interrupted,
}

fn wait(child: &mut Child, interrupted: &AtomicBool) -> std::io::Result<Ended> {
    let begun = Instant::now();
    loop {
        let ended = match child.try_wait()? {
            Some(status) if status.success() => return Ok(Ended::Done),
            Some(_) => return Ok(Ended::Failed),
            None if interrupted.load(Ordering::Relaxed) => Ended::Interrupted,
            None if begun.elapsed() > DEADLINE => Ended::Late,
            None => {
                std::thread::sleep(POLL);
                continue;
            }
        };
        child.kill()?;
        child.wait()?;
        return Ok(ended);
    }
}
