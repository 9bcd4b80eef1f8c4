//! Manifests, image indexes and tags.

use std::collections::BTreeSet;

use pixi_oci_image::{Descriptor, MediaType};
use pixi_oci_layer::Digest;
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;

use crate::{
    call::read_body,
    client::{
        Registry,
        session::{Payload, Reply, Request},
    },
    error::{Error, ErrorKind},
    error_body::looks_like_page,
    repository::{Repository, check_tag},
    retry::{Attempts, Failure},
};
use oci_read::{document::MANIFEST_TYPES, limits::DOCUMENT as MAX_DOCUMENT};

const TAGS_PER_PAGE: usize = 1000;
const MAX_TAGS: usize = 100_000;
const MAX_PAGES: usize = 200;

/// What a registry answered when a manifest was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Done,
    /// The registry misses a blob, or a manifest, that it names: it may have cleaned up in between.
    Incomplete,
}

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// A manifest or image index, by tag or by digest. Its bytes are those of the descriptor's digest, and of the
    /// digest that was asked for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) when the registry sends something else.
    pub async fn manifest(&self, reference: &str) -> Result<(Descriptor, Vec<u8>), Error> {
        let what = self.named(reference);
        let mut request = self.request(Method::GET, self.url(&format!("manifests/{reference}")).await?, &what);
        request.headers.push((ACCEPT, accept()));
        let (reply, bytes) = self.document(&request).await?;
        if !reply.status.is_success() {
            return Err(self.refusal(&what, &reply));
        }
        if looks_like_page(&String::from_utf8_lossy(&bytes)) {
            let reason = format!("it answers {what} with a web page");
            return Err(Error::new(ErrorKind::NotARegistry, self.client.host(), "", reason));
        }
        let digest = Digest::of(&bytes);
        if let Some(expected) = content_digest(&reply).filter(|found| *found != digest) {
            return Err(Error::mismatch(what, expected, format_args!("the registry sends {digest}")));
        }
        self.check_digest(reference, &what, digest)?;
        let media_type = reply.header("content-type").map_or(MediaType::Other(String::new()), media_type);
        Ok((Descriptor { media_type, digest, size: bytes.len() as u64, annotations: Default::default() }, bytes))
    }

    /// What a tag or digest names, without fetching it; `None` when it is not there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) when the registry says another digest than was asked for.
    pub async fn head_manifest(&self, reference: &str) -> Result<Option<Descriptor>, Error> {
        let what = self.named(reference);
        let mut request = self.request(Method::HEAD, self.url(&format!("manifests/{reference}")).await?, &what);
        request.headers.push((ACCEPT, accept()));
        let reply = self.call(&request).await?;
        match reply.status.as_u16() {
            200 => {}
            404 => return Ok(None),
            401 | 403 => return Err(self.refusal(&what, &reply)),
            // Some registries and proxies know no HEAD.
            _ => return self.fetched(reference).await,
        }
        let media_type = reply.header("content-type").map(media_type);
        match (content_digest(&reply), media_type, reply.length()) {
            (Some(digest), Some(media_type), Some(size)) => {
                self.check_digest(reference, &what, digest)?;
                Ok(Some(Descriptor { media_type, digest, size, annotations: Default::default() }))
            }
            _ => self.fetched(reference).await,
        }
    }

    async fn fetched(&self, reference: &str) -> Result<Option<Descriptor>, Error> {
        match self.manifest(reference).await {
            Ok((descriptor, _)) => Ok(Some(descriptor)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A whole answer of at most the size of a document; without bytes if it is an error. An answer that breaks off is
    /// asked for again.
    async fn document(&self, request: &Request<'_>) -> Result<(Reply, Vec<u8>), Error> {
        let whole = async || {
            let mut reply = self.send(request).await?;
            let bytes = match reply.response.take().filter(|_| reply.status.is_success()) {
                Some(response) => self.client.limit_document(read_body(response, MAX_DOCUMENT)).await?,
                None => Vec::new(),
            };
            Ok((reply, bytes))
        };
        self.client.retry(Attempts::default(), request.what, whole).await
    }

    /// Stores a manifest or image index under its digest, or makes a tag name it, for which its bytes are sent again.
    pub async fn put(&self, reference: &str, manifest: &Descriptor, bytes: &[u8]) -> Result<Put, Error> {
        let what = self.named(reference);
        let mut request = self.request(Method::PUT, self.url(&format!("manifests/{reference}")).await?, &what);
        let media_type = manifest.media_type.to_string();
        let value = HeaderValue::from_str(&media_type).map_err(|_| self.answer(&what, "its media type is none"))?;
        request.headers.push((CONTENT_TYPE, value));
        request.payload = Payload::Bytes(bytes);
        let mut attempts = Attempts::default();
        loop {
            let failure = match self.send(&request).await {
                Ok(reply) => return self.was_put(reference, manifest, &reply),
                Err(failure @ Failure::Transient(_)) => failure,
                Err(Failure::Final(error)) => return Err(error),
            };
            self.wait(&mut attempts, &what, failure).await?;
            // Gitea answers a second writer with status 500 and has the manifest (gitea#31964); an answer can also have
            // got lost.
            if self.head_manifest(reference).await?.is_some_and(|found| found.digest == manifest.digest) {
                return Ok(Put::Done);
            }
        }
    }

    fn was_put(&self, reference: &str, manifest: &Descriptor, reply: &Reply) -> Result<Put, Error> {
        let what = self.named(reference);
        if reply.status.is_success() {
            return match content_digest(reply).filter(|found| *found != manifest.digest) {
                None => Ok(Put::Done),
                Some(found) => {
                    let found = format!("the registry stored {found}");
                    Err(Error::mismatch(what, manifest.digest, found))
                }
            };
        }
        if reply.error.has("MANIFEST_BLOB_UNKNOWN") || (reply.status == 404 && reply.error.has("BLOB_UNKNOWN")) {
            return Ok(Put::Incomplete);
        }
        // Harbor's and ECR's words for a tag that is protected.
        let protected = reply.status == 412 || reply.error.codes.iter().any(|code| code.contains("IMMUTABLE"));
        let is_tag = reference.parse::<Digest>().is_err();
        if is_tag && (protected || reply.error.codes.iter().any(|code| code == "TAG_ALREADY_EXISTS")) {
            return Err(Error::tag_exists(what, "protected by the registry", manifest.digest));
        }
        Err(self.refusal(&what, reply))
    }

    /// All tags of the repository; none when it is not there yet.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        let what = format!("the tags of {}", self.repository.path());
        let mut url = self.url(&format!("tags/list?n={TAGS_PER_PAGE}")).await?;
        let mut tags: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        while seen.insert(url.clone()) {
            if seen.len() > MAX_PAGES {
                return Err(self.answer(&what, format!("there are more than {MAX_PAGES} pages")));
            }
            let request = self.request(Method::GET, url.clone(), &what);
            let (reply, bytes) = self.document(&request).await?;
            match reply.status.as_u16() {
                200..300 => {}
                404 => return Ok(tags),
                _ => return Err(self.refusal(&what, &reply)),
            }
            let list: TagList =
                serde_json::from_slice(&bytes).map_err(|error| self.answer(&what, error.to_string()))?;
            let page = list.tags.unwrap_or_default();
            let ended = page.is_empty();
            tags.extend(page.into_iter().filter(|tag| check_tag(tag).is_ok()));
            if tags.len() > MAX_TAGS {
                return Err(self.answer(&what, format!("there are more than {MAX_TAGS}")));
            }
            let next = reply.header("link").and_then(next_page).filter(|_| !ended);
            let Some(next) = next else { return Ok(tags) };
            url = reply.url.join(next).map_err(|_| self.answer(&what, "the URL of the next page is invalid"))?;
        }
        Err(self.answer(&what, "its pages go in a circle"))
    }

    /// Removes a manifest or image index with all its tags, or a tag. `false` when it was not there. Not all registries can
    /// remove a tag: many only delete by digest.
    pub async fn delete(&self, reference: &str) -> Result<bool, Error> {
        let what = format!("the deletion of {}", self.named(reference));
        let reply =
            self.call(&self.request(Method::DELETE, self.url(&format!("manifests/{reference}")).await?, &what)).await?;
        match reply.status.as_u16() {
            200..300 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(&what, &reply)),
        }
    }

    fn check_digest(&self, reference: &str, what: &str, digest: Digest) -> Result<(), Error> {
        match reference.parse::<Digest>() {
            Ok(expected) if expected != digest => {
                let found = format!("the registry has {digest}");
                Err(Error::mismatch(what, expected, found))
            }
            _ => Ok(()),
        }
    }

    fn named(&self, reference: &str) -> String {
        named(&self.repository, reference)
    }
}

/// `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`.
pub fn named(repository: &Repository, reference: &str) -> String {
    let joint = if reference.contains(':') { '@' } else { ':' };
    format!("{repository}{joint}{reference}")
}

fn accept() -> HeaderValue {
    HeaderValue::from_str(&MANIFEST_TYPES.join(", ")).unwrap_or(HeaderValue::from_static("*/*"))
}

fn media_type(header: &str) -> MediaType {
    header.split(';').next().unwrap_or_default().trim().into()
}

fn content_digest(reply: &Reply) -> Option<Digest> {
    reply.header("docker-content-digest").and_then(|text| text.trim().parse().ok())
}

/// The target of `<URL>; rel="next"` (RFC 8288).
fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = |part: &str| matches!(part.trim(), "rel=next" | "rel=\"next\"");
        parameters.split(';').any(next).then_some(url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_of_tags() {
        assert_eq!(next_page("</v2/a/tags/list?last=x&n=1>; rel=\"next\""), Some("/v2/a/tags/list?last=x&n=1"));
        assert_eq!(next_page("<https://r.io/a>; rel=prev, <b>; title=x; rel=next"), Some("b"));
        for nothing in ["", "<", "<x", "x>; rel=next", "<x>", "<x>; rel=nextish", ">;<"] {
            assert_eq!(next_page(nothing), None, "{nothing}");
        }
        assert_eq!(media_type("application/vnd.oci.image.index.v1+json; charset=utf-8"), MediaType::ImageIndex);
    }
}
