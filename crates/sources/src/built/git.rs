//! The files of a locked commit, by the host's git.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use pixi_oci_layer::{ContentStore, FileTree};
use pixi_oci_net::redact;
use pixi_oci_package::source_tree;
use url::Url;

use super::BuildError;
use crate::SourceError;

/// Gets the files of the commit that `url` (`git+https://HOST/REPO?subdirectory=DIR#COMMIT`) names, and the directory of
/// the project in them. `scratch` is an empty directory.
///
/// Nothing of the repository runs: no hooks, no filters, no submodules; and only https, ssh and file are spoken.
pub fn git_tree(
    package: &str,
    url: &Url,
    scratch: &Path,
    store: &mut ContentStore,
) -> Result<(FileTree, String), SourceError> {
    let project = |reason: String| BuildError::Project { package: package.to_owned(), reason };
    let commit = url.fragment().unwrap_or_default().to_ascii_lowercase();
    if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(project("the lock file does not name a whole commit; run `pixi lock`".into()).into());
    }
    let directory = url.query_pairs().find(|(key, _)| key == "subdirectory").map(|(_, value)| value.into_owned());
    let mut repository = url.as_str().trim_start_matches("git+").to_owned();
    repository.truncate(repository.find(['?', '#']).unwrap_or(repository.len()));
    let git = |arguments: &[&str]| run(package, &commit, url, scratch, arguments);
    git(&["init", "--quiet", "--bare", "."])?;
    // Servers need not give single commits: then everything is fetched.
    let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    let one = [&fetch[..], &["--depth", "1", "--", &repository, &commit]].concat();
    let all = [&fetch[..], &["--", &repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]].concat();
    git(&one).or_else(|_| git(&all))?;
    if git(&["cat-file", "-e", &format!("{commit}:.gitmodules")]).is_ok() {
        return Err(project("its repository has submodules, which are not fetched".into()).into());
    }
    git(&["archive", "--format=tar.gz", "--prefix=source/", "--output=source.tar.gz", &commit])?;
    let tree = source_tree(&scratch.join("source.tar.gz"), &format!("{package} at {commit}"), store)?;
    Ok((tree, directory.unwrap_or_default()))
}

fn run(package: &str, commit: &str, url: &Url, scratch: &Path, arguments: &[&str]) -> Result<(), BuildError> {
    let failed = |said: String| BuildError::Git {
        package: package.to_owned(),
        commit: commit.to_owned(),
        url: redact(url.as_str()),
        said,
    };
    let mut command = Command::new("git");
    command
        .args(["-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null", "-c", "protocol.allow=never"])
        .args(["-c", "protocol.https.allow=always", "-c", "protocol.ssh.allow=always"])
        .args(["-c", "protocol.file.allow=always", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"])
        .args(arguments)
        .current_dir(scratch)
        .env("GIT_ALLOW_PROTOCOL", "https:ssh:file")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_DIR", scratch)
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("git cannot be run: {error}")))?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // git repeats addresses, with what is secret in them.
        let _ = stderr.take(64 << 10).read_to_end(&mut said);
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said: String = said.chars().filter(|c| *c == '\n' || !c.is_control()).take(2000).collect();
    let words = said.split_whitespace().map(|word| if word.contains("://") { redact(word) } else { word.to_owned() });
    Err(failed(words.collect::<Vec<_>>().join(" ")))
}
