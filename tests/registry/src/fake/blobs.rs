//! Blobs that are there.

use serde_json::json;

use super::{
    answer::Asked,
    profile::{Children, Mount},
    route::Kind,
    world::World,
};
use crate::http::Response;

impl World {
    pub(super) fn give_blob(&self, asked: &Asked<'_>) -> Response {
        let digest = &asked.route.name;
        if !is_digest(digest) {
            return self.error_with(400, "DIGEST_INVALID", "provided digest did not match uploaded content", json!({}));
        }
        // Elsewhere there is a store without repositories.
        let stored = if asked.elsewhere { self.blobs.get(digest) } else { self.blob(&asked.route.repository, digest) };
        let Some(bytes) = stored else {
            return self.error_with(404, "BLOB_UNKNOWN", "blob unknown to registry", json!(digest));
        };
        if self.profile.redirects_blobs && !asked.elsewhere && asked.route.kind == Kind::BlobGet {
            return Response::new(307).header(
                "Location",
                format!("http://{}{}?signature=canary-signature", self.elsewhere, asked.head.path()),
            );
        }
        let response = Response::new(200)
            .header("Accept-Ranges", "bytes")
            .header("Cache-Control", "max-age=31536000")
            .header("Docker-Content-Digest", digest)
            .header("Etag", format!("\"{digest}\""));
        let part = asked.head.headers.get("range").and_then(|range| byte_range(range, bytes.len()));
        match part {
            _ if asked.route.kind == Kind::BlobHead => {
                response.header("Content-Length", bytes.len()).body("application/octet-stream", "")
            }
            Some((first, last)) => {
                let response = response.header("Content-Range", format!("bytes {first}-{last}/{}", bytes.len()));
                let response = response.body("application/octet-stream", &bytes[first..=last]);
                Response { status: 206, ..response }
            }
            None => response.body("application/octet-stream", bytes.clone()),
        }
    }

    pub(super) fn delete_blob(&mut self, asked: &Asked<'_>) -> Response {
        if !self.profile.deletes {
            return self.error(405, "UNSUPPORTED", "The operation is unsupported.");
        }
        let repository = self.repositories.get_mut(&asked.route.repository);
        if repository.is_some_and(|repository| repository.blobs.remove(&asked.route.name)) {
            return Response::new(202);
        }
        self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
    }

    /// A blob of another repository: 201, or an upload session where that does not work.
    pub(super) fn mount(&mut self, asked: &Asked<'_>) -> Response {
        let digest = asked.head.query("mount").unwrap_or_default();
        let from = asked.head.query("from");
        let there = match (self.profile.mount, &from) {
            (Mount::NeedsFrom, None) => return self.error(400, "UNSUPPORTED", "mount without from"),
            (Mount::Never, _) => false,
            (Mount::Lies, _) => true,
            (Mount::AnyRepository, _) => self.repositories.values().any(|known| known.blobs.contains(&digest)),
            (Mount::OnlyReferenced, Some(from)) => self.blob(from, &digest).is_some() && self.is_named(from, &digest),
            (Mount::Works | Mount::NeedsFrom, Some(from)) => self.blob(from, &digest).is_some(),
            (Mount::Works | Mount::OnlyReferenced, None) => false,
        };
        if !there {
            return self.start_upload(asked);
        }
        let lies = self.profile.mount == Mount::Lies || asked.lie.is_some();
        let repository = asked.route.repository.clone();
        if !lies && let Some(bytes) = self.blobs.get(&digest).cloned() {
            self.store_blob(&repository, &digest, bytes);
        }
        self.stored(201, &repository, &digest)
    }

    /// The answer to a blob that was stored.
    pub(super) fn stored(&self, status: u16, repository: &str, digest: &str) -> Response {
        Response::new(status)
            .header("Docker-Content-Digest", digest)
            .header("Location", format!("http://{}/v2/{repository}/blobs/{digest}", self.address))
    }

    fn is_named(&self, repository: &str, digest: &str) -> bool {
        let manifests = self.repositories.get(repository).into_iter().flat_map(|known| known.manifests.values());
        manifests.into_iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(digest))
    }

    /// Whether the children of an index must be there.
    pub(super) fn checks_children(&self) -> bool {
        self.profile.children == Children::MustExist
    }
}

/// `sha256:` and 64 digits.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// First and last byte of `bytes=FIRST-[LAST]`, if there are such.
fn byte_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().unwrap_or(usize::MAX).min(length.checked_sub(1)?);
    (first <= last).then_some((first, last))
}
