//! Where a workspace comes from, read from its git directory without running git.

use std::path::{Path, PathBuf};

use pixi_oci_platform::{Links, read_text};

/// What the image's annotations say of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `https://HOST/PATH` of the remote `origin`, without user, password and `.git`.
    pub url: Option<String>,
    /// The commit that `HEAD` names, 40 or 64 hex digits.
    pub revision: Option<String>,
}

/// Looks in `workspace` and the directories above it. Whatever cannot be read or understood is left out: annotations
/// are no reason to fail a build.
pub fn source(workspace: &Path) -> Source {
    let Some(git) = workspace.ancestors().find_map(git_directory) else {
        return Source::default();
    };
    // A linked worktree has its own HEAD, and shares refs and configuration.
    let common = read(&git.join("commondir")).map_or(git.clone(), |dir| git.join(dir.trim()));
    Source {
        url: read(&common.join("config")).and_then(|config| web_url(origin(&config)?)),
        revision: revision(&git, &common),
    }
}

fn git_directory(directory: &Path) -> Option<PathBuf> {
    let dot_git = directory.join(".git");
    if dot_git.is_dir() {
        return Some(dot_git);
    }
    Some(directory.join(read(&dot_git)?.trim().strip_prefix("gitdir: ")?))
}

/// Of each file; packed refs of the largest repositories have some ten MiB.
const MAX: u64 = 64 << 20;

fn read(path: &Path) -> Option<String> {
    read_text(path, Links::Follow, MAX).ok()
}

fn revision(git: &Path, common: &Path) -> Option<String> {
    let head = read(&git.join("HEAD"))?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return commit(&head) };
    if !name.starts_with("refs/") || name.split('/').any(|part| part == "..") {
        return None;
    }
    [git, common].iter().find_map(|dir| commit(&read(&dir.join(name))?)).or_else(|| {
        let packed = read(&common.join("packed-refs"))?;
        packed.lines().find_map(|line| commit(line.strip_suffix(name)?.strip_suffix(' ')?))
    })
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| text.to_string())
}

fn origin(config: &str) -> Option<&str> {
    let mut lines = config.lines().map(str::trim);
    lines.find(|line| *line == "[remote \"origin\"]")?;
    lines
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix("url")?.trim_start().strip_prefix('=').map(str::trim))
}

/// `git@host:path.git`, `ssh://git@host:22/path` and `https://token@host/path` all become `https://host/path`; a
/// remote without a host (a path, `file://`) has no address that means something elsewhere.
fn web_url(remote: &str) -> Option<String> {
    let (host, path) = match remote.split_once("://") {
        Some(("file", _)) => return None,
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/')?;
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            // A port of ssh or git says nothing about the web server's.
            let port_counts = matches!(scheme, "http" | "https");
            (if port_counts { host } else { host.split(':').next()? }, path)
        }
        None => {
            let (authority, path) = remote.split_once(':')?;
            if authority.contains('/') {
                return None;
            }
            (authority.rsplit_once('@').map_or(authority, |(_, host)| host), path)
        }
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let clean =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@');
    (clean(host) && clean(path)).then(|| format!("https://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_remote_becomes_one_address() {
        for remote in [
            "git@example.org:lab/tool.git",
            "ssh://git@example.org:2222/lab/tool.git",
            "https://user:s3cret@example.org/lab/tool.git",
            "https://example.org/lab/tool/",
            "git://example.org/lab/tool",
        ] {
            assert_eq!(web_url(remote).as_deref(), Some("https://example.org/lab/tool"), "{remote}");
        }
        for remote in ["/srv/git/tool.git", "../tool", "file:///srv/tool.git", "C:", ""] {
            assert_eq!(web_url(remote), None, "{remote}");
        }
    }

    #[test]
    fn reads_loose_and_packed_refs() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        fs_err::create_dir_all(git.join("refs/heads")).unwrap();
        fs_err::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs_err::write(git.join("config"), "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@h:a/b.git\n")
            .unwrap();
        fs_err::write(git.join("packed-refs"), format!("# pack-refs\n{} refs/heads/main\n", "b".repeat(40))).unwrap();
        let inner = dir.path().join("inner");
        fs_err::create_dir(&inner).unwrap();
        assert_eq!(source(&inner).revision, Some("b".repeat(40)));
        fs_err::write(git.join("refs/heads/main"), "a".repeat(40) + "\n").unwrap();
        let source = source(dir.path());
        assert_eq!(source.revision, Some("a".repeat(40)));
        assert_eq!(source.url.as_deref(), Some("https://h/a/b"));
    }
}
