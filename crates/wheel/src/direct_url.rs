//! `direct_url.json` (PEP 610).

use serde::Serialize;
use url::Url;

/// Where a wheel is from that the manifest names by URL or path: the contents of `direct_url.json` (PEP 610).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DirectUrl {
    url: Url,
    #[serde(flatten)]
    what: UrlKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    subdirectory: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
enum UrlKind {
    #[serde(rename = "archive_info")]
    Archive {},
    #[serde(rename = "dir_info")]
    Directory {},
    #[serde(rename = "vcs_info")]
    Commit {
        vcs: &'static str,
        commit_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        requested_revision: Option<String>,
    },
}

impl DirectUrl {
    /// `url` is `file:///…` for a path. pixi compares it with the lock file's, without `direct+`. As in uv, the fragment
    /// is left out, and a password or lone user name becomes `****`; the result is part of a public layer. So the user name
    /// beside a password does, too, which uv keeps: some hosts take their tokens there (`TOKEN:x-oauth-basic@`). The query
    /// is left out for the same reason: pre-signed URLs have their secret in it.
    pub fn new(mut url: Url) -> Self {
        url.set_fragment(None);
        url.set_query(None);
        // Neither fails for a URL that has them.
        if url.password().is_some() {
            let _ = url.set_password(Some("****"));
        }
        if !url.username().is_empty() {
            let _ = url.set_username("****");
        }
        Self { url, what: UrlKind::Archive {}, subdirectory: None }
    }

    /// For a wheel that was made of a directory, which is installed as it was and not as editable.
    pub fn directory(url: Url) -> Self {
        Self { what: UrlKind::Directory {}, ..Self::new(url) }
    }

    /// For a wheel that was made of a commit of the git repository at `url`, which has no `git+`; the manifest may name a
    /// branch, tag or part of a commit's digest.
    pub fn git(url: Url, commit_id: String, requested_revision: Option<String>) -> Self {
        Self { what: UrlKind::Commit { vcs: "git", commit_id, requested_revision }, ..Self::new(url) }
    }

    /// The project is not at the top of it.
    pub fn in_subdirectory(self, subdirectory: Option<String>) -> Self {
        Self { subdirectory, ..self }
    }

    pub fn json(&self) -> Vec<u8> {
        // It has nothing that cannot be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
