//! One upload of one blob (distribution-spec, "Pushing blobs").
//!
//! POST and then a single PUT with the digest and a known length is the only form that every registry takes; PATCH in
//! pieces is for proxies that limit the size of a request, and only on demand.

use pixi_oci_image::Descriptor;
use reqwest::{
    Method, Url,
    header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue},
};

use crate::{
    body::FilePart,
    client::{BlobSource, Registry, Upload, session::Payload, session::Reply},
    error::{Error, ErrorKind},
    retry::{Attempts, Failure},
};

/// A registry that wants larger pieces than this wants too much.
const MAX_CHUNK: u64 = 1 << 30;

impl Registry {
    /// One attempt. The registry confirmed the blob when it is `Ok`.
    pub(super) async fn upload(
        &self,
        blob: &Descriptor,
        source: BlobSource<'_>,
        open: Option<Upload>,
        what: &str,
    ) -> Result<(), Failure> {
        let upload = match open {
            Some(upload) => upload,
            None => self.open_upload(what).await?,
        };
        let whole = match source {
            BlobSource::Bytes(bytes) => return self.finish(upload.url, blob, Payload::Bytes(bytes), what).await,
            BlobSource::File(path) => {
                FilePart { path: path.to_owned(), blob: blob.clone(), start: 0, length: blob.size }
            }
        };
        match self.chunk_size.map(|size| size.max(upload.least_chunk).min(MAX_CHUNK)) {
            Some(size) if size < blob.size => {
                let url = self.pieces(upload.url, &whole, size, what).await?;
                self.finish(url, blob, Payload::None, what).await
            }
            _ => self.finish(upload.url, blob, Payload::File(&whole), what).await,
        }
    }

    /// Finds out whether blobs may be uploaded, without one: opens an upload and cancels it.
    ///
    /// # Errors
    ///
    /// The registry refuses: [`ErrorKind::AuthDenied`], [`ErrorKind::NoRepository`], [`ErrorKind::Quota`].
    pub async fn probe_upload(&self) -> Result<(), Error> {
        let what = format!("an upload to {}", self.repository.path());
        let upload = self.client.retry(Attempts::default(), &what, async || self.open_upload(&what).await).await?;
        // What is left open ends by itself; registries that cannot cancel say so.
        let mut cancel = self.request(Method::DELETE, upload.url, &what);
        cancel.optional = true;
        let _ = self.send(&cancel).await;
        Ok(())
    }

    async fn open_upload(&self, what: &str) -> Result<Upload, Failure> {
        let reply = self.send(&self.request(Method::POST, self.url("blobs/uploads/").await?, what)).await?;
        match reply.status.as_u16() {
            202 => {
                self.upload_of(&reply).ok_or_else(|| self.answer(what, "it opens an upload without a Location").into())
            }
            404 => {
                Err(Error::new(ErrorKind::NoRepository, self.client.host(), self.repository.path(), reply.error.text())
                    .into())
            }
            _ => Err(self.refusal(what, &reply).into()),
        }
    }

    /// Where an upload goes on. Relative to where the answer came from; a query that is in it stays as it is.
    pub(super) fn upload_of(&self, reply: &Reply) -> Option<Upload> {
        let url = reply.url.join(reply.header("location")?).ok()?;
        let least = reply.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        Some(Upload { url, least_chunk: least.unwrap_or(0) })
    }

    async fn pieces(&self, mut url: Url, whole: &FilePart, size: u64, what: &str) -> Result<Url, Failure> {
        let mut start = 0;
        while start < whole.length {
            let length = size.min(whole.length - start);
            let part = FilePart { start, length, ..whole.clone() };
            let mut request = self.request(Method::PATCH, url, what);
            request.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
            let range = HeaderValue::from_str(&format!("{start}-{}", start + length - 1));
            request.headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
            request.payload = Payload::File(&part);
            let reply = self.send(&request).await?;
            if !reply.status.is_success() {
                return Err(self.upload_refused(&reply, what));
            }
            let next = self.upload_of(&reply);
            url = next.ok_or_else(|| self.answer(what, "it takes a piece and does not say where the next goes"))?.url;
            start += length;
        }
        Ok(url)
    }

    async fn finish(&self, mut url: Url, blob: &Descriptor, payload: Payload<'_>, what: &str) -> Result<(), Failure> {
        // What is in the query already may be signed: it is not written anew.
        let digest = format!("digest={}", blob.digest.to_string().replace(':', "%3A"));
        let query = match url.query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{digest}"),
            None => digest,
        };
        url.set_query(Some(&query));
        let mut request = self.request(Method::PUT, url, what);
        request.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        request.payload = payload;
        let reply = self.send(&request).await?;
        if reply.status.is_success() { Ok(()) } else { Err(self.upload_refused(&reply, what)) }
    }

    fn upload_refused(&self, reply: &Reply, what: &str) -> Failure {
        // The upload is dead, or the bytes broke on their way: the next attempt is a new one.
        let dead = ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"];
        if matches!(reply.status.as_u16(), 404 | 416) || dead.iter().any(|code| reply.error.has(code)) {
            return Failure::transient(reply.error.with_status(reply.status));
        }
        self.refusal(what, reply).into()
    }
}
