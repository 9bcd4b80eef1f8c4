//! skopeo, run once for one answer.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use oci_read::limits::DOCUMENT;
use pixi_oci_image::Architecture;
use pixi_oci_platform::stripped;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    Error,
    base::{Problem, local::Local, store::Store},
};

/// How much of skopeo's complaint an error repeats, in characters.
const MAX_OUTPUT: usize = 2000;

/// The program, and the image that it is asked for.
pub(super) struct Skopeo<'a> {
    pub program: &'a Path,
    pub reference: &'a str,
    pub architecture: Architecture,
}

impl Skopeo<'_> {
    /// What all calls have in common.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(["--override-os", "linux", "--override-arch", self.architecture.as_str()]);
        command
    }

    /// Copies the image, with every byte that its place has.
    pub(super) async fn copy(&self, store: &Store) -> Result<Local, Problem> {
        let staged = store.staging_directory()?;
        let image = staged.path().join("image");
        fs::create_dir(&image).map_err(Error::io("create", &image))?;
        let mut to = OsString::from("dir:");
        to.push(&image);
        let mut command = self.command();
        command.args(["copy", "--quiet", "--"]).args([OsStr::new(self.reference), &to]);
        let mut command = tokio::process::Command::from(command);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|error| self.no(error))?;
        if output.status.success() { Local::copied(image, staged) } else { Err(failure(output.status, &output.stderr)) }
    }

    /// The manifest or index that the name means, as it is.
    pub(super) async fn manifest(&self, patience: Duration) -> Result<Vec<u8>, Problem> {
        let mut command = self.command();
        command.args(["inspect", "--raw", "--", self.reference]);
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| self.no(error))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let answer = async { tokio::try_join!(read(stdout), read(stderr), child.wait()) };
        let (bytes, said, status) = match tokio::time::timeout(ANSWER * patience, answer).await {
            Ok(answer) => answer.map_err(|error| self.no(error))?,
            Err(_) => return Err(no_answer("its manifest", patience)),
        };
        if status.success() { Ok(bytes) } else { Err(failure(status, &said)) }
    }

    /// It cannot be run.
    pub(super) fn no(&self, error: io::Error) -> Problem {
        match error.kind() {
            io::ErrorKind::NotFound => Problem::NoSkopeo,
            _ => Error::io("run", self.program)(error).into(),
        }
    }
}

/// Whatever skopeo is asked for, it answers within so many times the patience that a connection has: it may have to unpack an archive
/// or a layer first.
pub(super) const ANSWER: u32 = 10;

pub(super) fn no_answer(what: &str, patience: Duration) -> Problem {
    let said = format!("it did not answer within {} seconds", (ANSWER * patience).as_secs());
    Problem::Proxy { what: what.to_owned(), said }
}

/// What is longer than a document may be ends there.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(DOCUMENT + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn failure(status: ExitStatus, stderr: &[u8]) -> Problem {
    let output = end(&stripped(stderr));
    if is_policy(&output) { Problem::Policy { said: output } } else { Problem::Skopeo { status, output } }
}

/// Whether skopeo refuses an image because of what containers-policy.json(5) says, by its words: there is no code for it.
pub(super) fn is_policy(said: &str) -> bool {
    [
        "rejected by policy",
        "Source image rejected",
        "signature was required",
        "ignature for identity",
        "nvalid GPG signature",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// The end of what skopeo says.
pub(super) fn end(said: &str) -> String {
    let said = said.trim();
    let tail = said.chars().count().saturating_sub(MAX_OUTPUT);
    said.chars().skip(tail).collect()
}
