//! Where a workspace comes from.

use std::path::Path;

use pixi_oci_git::Git;

/// What the image's annotations say of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// `https://HOST/PATH` of the remote `origin`, without user, password and `.git`.
    pub url: Option<String>,
    /// The commit of `HEAD`, 40 or 64 hexadecimal digits; with `-dirty` unless the working tree is known to be that commit's.
    pub revision: Option<String>,
}

/// Asks git. What it does not say is left out: annotations are no reason to fail a build.
pub fn source(workspace: &Path) -> Source {
    let git = Git::at(workspace);
    let Some(commit) = git.commit() else { return Source::default() };
    let clean = git.tree().is_ok_and(|tree| tree.is_clean());
    Source {
        url: git.remote("origin").and_then(|remote| web_url(&remote)),
        revision: Some(if clean { commit } else { format!("{commit}-dirty") }),
    }
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
    use super::web_url;

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
}
