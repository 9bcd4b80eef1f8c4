//! Programs that give away secrets: the token command and docker's credential helpers.

use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::credentials::Secret;

/// Nobody may have to type a password into a pipeline; a program that waits for it is stopped.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_OUTPUT: u64 = 1 << 20;

/// Runs a token command; the token is the first line of what it prints.
pub(super) async fn token(command: &[String]) -> Result<Secret, String> {
    let [program, arguments @ ..] = command else { return Err("it is empty".into()) };
    let mut command = Command::new(program);
    command.args(arguments);
    let output = run(command, None, PATIENCE).await?;
    if !output.status.success() {
        let how = output.status.code().map_or_else(|| output.status.to_string(), |code| format!("exit code {code}"));
        return Err(format!("it ended with {how}; run it by hand to see why"));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| "it does not print text".to_owned())?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err("it prints no token".into());
    }
    Ok(Secret::new(line))
}

/// Runs a program without a shell. Its stderr is nobody's business: it may repeat the secret.
pub(super) async fn run(mut command: Command, input: Option<&str>, patience: Duration) -> Result<Output, String> {
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "the program is not installed".to_owned(),
            _ => error.to_string(),
        })?;
    let work = async {
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A program that does not read what it is asked says so by its status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let mut stdout = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            pipe.take(MAX_OUTPUT).read_to_end(&mut stdout).await.map_err(|error| error.to_string())?;
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        Ok(Output { status, stdout, stderr: Vec::new() })
    };
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => Err(format!("it did not end within {} seconds", patience.as_secs())),
    }
}

/// Docker's credential helpers (github.com/docker/docker-credential-helpers): `get` with the server on stdin. `path` is
/// the `PATH` in which the program is.
pub(super) async fn helper(name: &str, path: Option<&OsStr>, server: &str) -> Result<Output, String> {
    // The name becomes a program's; it comes from a file that may have been copied from anywhere.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err("the helper's name is no name of a program".into());
    }
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    run(command, Some(server), PATIENCE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn the_token_is_the_first_line() {
        let said = token(&argv(&["printf", "%s\\n", "  abc ", "other"])).await.unwrap();
        assert_eq!(said.expose(), "abc");
        // No shell: nothing is expanded.
        assert_eq!(token(&argv(&["echo", "$HOME;x"])).await.unwrap().expose(), "$HOME;x");
        for (words, reason) in [
            (&["/nonexistent/x"][..], "not installed"),
            (&["false"], "it ended with exit code 1"),
            (&["true"], "no token"),
            (&[], "empty"),
        ] {
            let error = token(&argv(words)).await.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_program_that_waits_is_stopped() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let error = run(command, None, Duration::from_millis(50)).await.err().unwrap();
        assert!(error.contains("did not end"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_is_a_program_of_that_name_only() {
        for name in ["", "../x", "a/b", "a b", "a\n"] {
            assert!(helper(name, None, "r.io").await.err().unwrap().contains("no name of a program"), "{name}");
        }
        assert!(helper("surely-not-there", None, "r.io").await.err().unwrap().contains("not installed"));
    }
}
