//! Whether a locked Python package is from where it is required from.

use std::path::Path;

use rattler_lock::{PypiPackageData, UrlOrPath};
use url::Url;

use crate::{LockFile, file::package::normalize};
use pixi_oci_net::redact;
use pixi_oci_workspace::{GitReference, PypiSource};

/// Who requires, for what lock files do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requirer {
    Manifest,
    /// Another Python package. Its requirements cannot name an index.
    Package,
}

/// What the lock file has instead of what is required; `None` if it has that.
pub(super) fn unlike(
    source: &PypiSource,
    package: &PypiPackageData,
    origin: Requirer,
    lock: &LockFile,
    indexes: &[String],
) -> Option<String> {
    let location = package.location().inner();
    match (source, location) {
        (PypiSource::Registry { version, index }, _) => {
            // A directory in the place of what another package requires is the user's own decision.
            if origin == Requirer::Package && matches!(location, UrlOrPath::Path(_)) {
                return None;
            }
            let data = package.as_wheel()?;
            if !version.contains(&data.version) {
                return Some(data.version.to_string());
            }
            let locked = data.index_url.as_ref()?;
            let same = |index: &str| index.trim_end_matches('/') == locked.as_str().trim_end_matches('/');
            let is_from = match index {
                Some(index) => same(index.as_str()),
                None => origin == Requirer::Package || indexes.iter().any(|index| same(index)),
            };
            (!is_from).then(|| format!("{} from {}", data.version, redact(locked.as_str())))
        }
        (PypiSource::Url { url, .. }, UrlOrPath::Url(locked)) => {
            let plain = |url: &str| {
                let url = url.strip_prefix("direct+").unwrap_or(url);
                redact(url.split('#').next().unwrap_or(url))
            };
            (locked.scheme().starts_with("git") || plain(url.as_str()) != plain(locked.as_str()))
                .then(|| redact(locked.as_str()))
        }
        (PypiSource::Git { url, reference, subdirectory }, UrlOrPath::Url(locked)) => {
            other_git(url, reference.as_ref(), subdirectory.as_deref(), locked).then(|| redact(locked.as_str()))
        }
        (PypiSource::Path { path, .. }, UrlOrPath::Path(locked)) => {
            let absolute = |path: &str| normalize(&lock.directory().join(Path::new(path)));
            (absolute(path) != absolute(locked.as_str())).then(|| locked.as_str().to_owned())
        }
        // `file:` URLs of local wheels.
        (PypiSource::Path { path, .. }, UrlOrPath::Url(locked)) if locked.scheme() == "file" => {
            let absolute = normalize(&lock.directory().join(Path::new(path)));
            (locked.to_file_path().ok().as_deref() != Some(&absolute)).then(|| redact(locked.as_str()))
        }
        (_, location) => Some(redact(location.as_str())),
    }
}

/// Git locations are `git+https://HOST/PATH?tag=v1&subdirectory=x#COMMIT`; before format 7 often without the query.
fn other_git(url: &Url, reference: Option<&GitReference>, subdirectory: Option<&str>, locked: &Url) -> bool {
    if !locked.scheme().starts_with("git+") && locked.scheme() != "git" {
        return true;
    }
    if repository(url) != repository(locked) {
        return true;
    }
    let query = |key: &str| locked.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
    let given: Vec<_> = ["branch", "tag", "rev"].iter().filter_map(|key| Some((*key, query(key)?))).collect();
    let in_path = locked.path().rsplit_once('@').map(|(_, reference)| reference.to_owned());
    if let Some(subdirectory) = subdirectory.map(|path| path.trim_matches('/'))
        && query("subdirectory").as_deref().map(|path| path.trim_matches('/')) != Some(subdirectory)
        && !locked.fragment().unwrap_or_default().contains(&format!("subdirectory={subdirectory}"))
    {
        return true;
    }
    match (reference, given.first(), in_path) {
        // Nothing is known of what was asked for but the commit.
        (Some(GitReference::Rev(rev)), None, None) => {
            let commit = locked.fragment().unwrap_or_default();
            is_commit(rev) && !commit.is_empty() && !commit.contains(rev.as_str())
        }
        (_, None, None) => false,
        (None, _, _) => true,
        (Some(GitReference::Branch(branch)), Some((key, value)), _) => *key != "branch" || value != branch,
        (Some(GitReference::Tag(tag)), Some((key, value)), _) => *key != "tag" || value != tag,
        // `git+https://…@x` in a requirement does not say whether `x` is a tag, a branch or a commit.
        (Some(GitReference::Rev(rev)), Some((_, value)), _) => value != rev,
        (Some(GitReference::Branch(name) | GitReference::Tag(name) | GitReference::Rev(name)), None, Some(value)) => {
            value != *name
        }
    }
}

fn is_commit(rev: &str) -> bool {
    rev.len() >= 7 && rev.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Host and path: what makes two URLs the same repository.
fn repository(url: &Url) -> String {
    let path = url.path().rsplit_once('@').map_or(url.path(), |(path, _)| path);
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    format!("{}/{}", url.host_str().unwrap_or_default(), path.trim_start_matches('/')).to_lowercase()
}
