//! What the `direct_url.json` of a source's wheel says: the same as uv writes for what the lock file names.

use pixi_oci_lock::{ArchiveLocation, PypiSourceKind};
use pixi_oci_wheel::DirectUrl;
use url::Url;

use super::{LockedSource, SourceKind};
use pixi_oci_pipeline::in_image;

impl LockedSource<'_> {
    /// `None` for a source archive of an index, and for conda's sources.
    pub(super) fn direct_url(&self, workdir: &str) -> Option<DirectUrl> {
        let SourceKind::Pypi(kind) = self.kind else { return None };
        match (kind, self.place) {
            (PypiSourceKind::Git, ArchiveLocation::Url(url)) => git(url),
            (PypiSourceKind::Sdist, ArchiveLocation::Url(url)) => archive(url),
            (_, ArchiveLocation::Path(_)) => {
                let place = match Url::parse(self.location) {
                    Ok(url) if url.scheme() == "file" => url,
                    _ => Url::from_file_path(in_image(workdir, self.location)).ok()?,
                };
                let is_archive = kind == PypiSourceKind::Sdist;
                Some(if is_archive { DirectUrl::new(place) } else { DirectUrl::directory(place) })
            }
            _ => None,
        }
    }
}

/// Where an archive is fetched from.
pub(super) fn plain(place: &ArchiveLocation) -> ArchiveLocation {
    let ArchiveLocation::Url(url) = place else { return place.clone() };
    let direct = url.as_str().strip_prefix("direct+").and_then(|text| text.parse().ok());
    ArchiveLocation::Url(direct.unwrap_or_else(|| url.clone()))
}

/// `git+https://HOST/REPO?rev=REV&subdirectory=DIR#COMMIT`
fn git(url: &Url) -> Option<DirectUrl> {
    let value = |wanted: &[&str]| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| wanted.contains(&key.as_ref())).map(|(_, value)| value.into_owned())
    };
    let text = url.as_str();
    let text = text.strip_prefix("git+").unwrap_or(text);
    let repository = text.split(['?', '#']).next().unwrap_or(text).parse().ok()?;
    let commit = url.fragment()?.to_ascii_lowercase();
    let git = DirectUrl::git(repository, commit, value(&["rev", "branch", "tag"]));
    Some(git.in_subdirectory(value(&["subdirectory"])))
}

/// `direct+https://HOST/NAME.tar.gz#subdirectory=DIR`; without `direct+` it is from an index.
fn archive(url: &Url) -> Option<DirectUrl> {
    let direct: Url = url.as_str().strip_prefix("direct+")?.parse().ok()?;
    let parts = direct.fragment().unwrap_or_default().split('&');
    let subdirectory = parts.filter_map(|part| part.strip_prefix("subdirectory=")).next().map(str::to_owned);
    Some(DirectUrl::new(direct).in_subdirectory(subdirectory))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are what uv 0.13.9 wrote for the same sources.
    #[test]
    fn it_is_what_uv_writes() {
        let text = |url: Option<DirectUrl>| String::from_utf8(url.unwrap().json()).unwrap();
        let of = |url: &str| git(&url.parse().unwrap());
        let commit = "6e93961184542fe4748cb667760e0a58e7bfff7f";
        assert_eq!(
            text(of(&format!("git+file:///tmp/repo?rev={commit}&subdirectory=sub#{commit}"))),
            format!(
                r#"{{"url":"file:///tmp/repo","vcs_info":{{"vcs":"git","commit_id":"{commit}","requested_revision":"{commit}"}},"subdirectory":"sub"}}"#
            )
        );
        assert_eq!(
            text(of(&format!("git+https://u:secret@h.example/r.git?branch=main#{commit}"))),
            format!(
                r#"{{"url":"https://****:****@h.example/r.git","vcs_info":{{"vcs":"git","commit_id":"{commit}","requested_revision":"main"}}}}"#
            )
        );
        assert_eq!(
            text(of(&format!("git+file:///tmp/repo#{commit}"))),
            format!(r#"{{"url":"file:///tmp/repo","vcs_info":{{"vcs":"git","commit_id":"{commit}"}}}}"#)
        );
        let of = |url: &str| archive(&url.parse().unwrap());
        assert_eq!(
            text(of("direct+http://127.0.0.1:8765/pkg-1.0.tar.gz")),
            r#"{"url":"http://127.0.0.1:8765/pkg-1.0.tar.gz","archive_info":{}}"#
        );
        let place = |url: &str| ArchiveLocation::Url(url.parse().unwrap());
        assert_eq!(plain(&place("direct+https://h.example/a.zip")), place("https://h.example/a.zip"));
        assert_eq!(of("https://files.example.org/pkg-1.0.tar.gz"), None);
    }
}
