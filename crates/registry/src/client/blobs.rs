//! Blobs: whether they are there, how they come, how they are fetched.

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::Path,
};

use pixi_oci_image::Descriptor;
use pixi_oci_layer::{Digest, DigestWriter};
use pixi_oci_net::LeastRate;
use reqwest::{Method, Url};

use crate::document::MAX_DOCUMENT;
use crate::{
    client::Registry,
    error::{Error, ErrorKind},
    event::Event,
    retry::{Attempts, Failure},
};

/// Where the bytes of a blob are that is to be sent or stored. They can be read more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobSource<'a> {
    /// In memory: an image configuration.
    Bytes(&'a [u8]),
    /// In a file: a layer. It is hashed while it is read.
    File(&'a Path),
}

/// From this size on the space for a blob is reserved before it is fetched.
const RESERVED: u64 = 64 << 20;

/// Where a blob goes that is fetched.
pub trait Sink: Write + Send {
    /// Forgets what was written: another attempt begins, of so many bytes.
    ///
    /// # Errors
    ///
    /// A file cannot be truncated, or the disk cannot hold so much: a registry does not get to fill it first.
    fn restart(&mut self, size: u64) -> io::Result<()>;
}

impl Sink for File {
    fn restart(&mut self, size: u64) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()?;
        if size < RESERVED { Ok(()) } else { pixi_oci_platform::reserve(self, size) }
    }
}

impl Sink for Vec<u8> {
    fn restart(&mut self, _: u64) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// What a registry did when asked to link a blob from another of its repositories.
#[derive(Debug)]
pub enum Mount {
    /// It did, it says.
    Mounted,
    /// It did not, and opened an upload in its place.
    Open(Upload),
    No,
}

#[derive(Debug)]
pub struct Upload {
    pub(super) url: Url,
    /// The least size of a piece that the registry takes, when uploading in pieces.
    pub(super) least_chunk: u64,
}

impl Registry {
    /// Whether the repository has a blob.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) when it says that it has one of this digest and another size.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let what = format!("blob {}", blob.digest);
        let request = self.request(Method::HEAD, self.url(&format!("blobs/{}", blob.digest)).await?, &what);
        let reply = self.call(&request).await?;
        let mismatch = |found: String| Error::mismatch(&what, blob.digest, found);
        match reply.status.as_u16() {
            200 => {}
            404 => return Ok(false),
            _ => return Err(self.refusal(&what, &reply)),
        }
        if let Some(length) = reply.length().filter(|length| *length != blob.size) {
            let found = format!("{} says that it has {length} bytes and not {}", self.client.host(), blob.size);
            return Err(mismatch(found));
        }
        let digest = reply.header("docker-content-digest").and_then(|text| text.trim().parse::<Digest>().ok());
        match digest {
            // What says yes to everything says neither.
            None => Ok(reply.length().is_some()),
            Some(digest) if digest == blob.digest => Ok(true),
            Some(digest) => Err(mismatch(format!("{} says that it is {digest}", self.client.host()))),
        }
    }

    /// Asks the registry to link a blob from its repository `from`. Whether it did has to be asked: old Giteas say yes and
    /// do nothing.
    ///
    /// # Errors
    ///
    /// The connection fails. A refusal is [`Mount::No`].
    pub async fn mount(&self, blob: &Descriptor, from: &str) -> Result<Mount, Error> {
        let what = format!("blob {} of {from}", blob.digest);
        let mut url = self.url("blobs/uploads/").await?;
        url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", from);
        let mut request = self.request(Method::POST, url, &what);
        request.scopes.push(format!("repository:{from}:pull"));
        request.optional = true;
        let reply = match self.call(&request).await {
            // The other repository is not ours to read.
            Err(error) if error.kind() == ErrorKind::AuthDenied => return Ok(Mount::No),
            reply => reply?,
        };
        match reply.status.as_u16() {
            201 => Ok(Mount::Mounted),
            202 => Ok(self.upload_of(&reply).map_or(Mount::No, Mount::Open)),
            _ => Ok(Mount::No),
        }
    }

    /// Sends a blob, and asks whether it is there afterwards; a small one is read back. `open` is an upload that is open already.
    pub async fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>, open: Option<Upload>) -> Result<(), Error> {
        let what = format!("blob {}", blob.digest);
        let mut attempts = Attempts::default();
        let (mut open, mut lost) = (open, false);
        loop {
            let failure = match self.upload(blob, source, open.take(), &what).await {
                Ok(()) if self.is_stored(blob).await? => return Ok(()),
                Ok(()) if lost => {
                    let found = format!("{} confirmed it twice and does not have it", self.client.host());
                    return Err(Error::mismatch(what, blob.digest, found));
                }
                Ok(()) => {
                    lost = true;
                    Failure::transient("the registry confirmed it and does not have it")
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(failure) => failure,
            };
            // A new attempt begins a new upload: hardly any registry can go on with a broken one.
            self.wait(&mut attempts, &what, failure).await?;
            // The answer may have got lost on its way, and not the blob.
            if self.is_stored(blob).await? {
                return Ok(());
            }
        }
    }

    /// Fetches a blob. Its bytes are those of the descriptor, and never more than one piece more is read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`] when the registry sends something else.
    pub async fn fetch_blob(&self, blob: &Descriptor, sink: &mut impl Sink) -> Result<(), Error> {
        let what = format!("blob {} of {}", blob.digest, self.repository);
        let attempt = async || {
            sink.restart(blob.size).map_err(|source| Error::write(&what, source))?;
            let mut sink = DigestWriter::new(&mut *sink);
            let received = |received| self.say(Event::Received { blob: blob.digest, received, size: blob.size });
            self.fetch_once(blob, &mut sink, &what, received).await?;
            match sink.finish() {
                (_, size, _) if size < blob.size => Err(Failure::transient(format!("it ends after {size} bytes"))),
                (digest, ..) if digest == blob.digest => Ok(()),
                (digest, ..) => {
                    Err(Error::mismatch(&what, blob.digest, format_args!("the registry sends {digest}")).into())
                }
            }
        };
        self.client.retry(Attempts::default(), &what, attempt).await
    }

    /// Fetches a blob that is a document: an image configuration.
    ///
    /// # Errors
    ///
    /// As [`fetch_blob`](Self::fetch_blob); [`ErrorKind::Answer`] for one that is larger than documents may be.
    pub async fn fetch_document(&self, blob: &Descriptor) -> Result<Vec<u8>, Error> {
        if blob.size > MAX_DOCUMENT {
            let what = format!("blob {} of {}", blob.digest, self.repository);
            return Err(self.answer(&what, format!("it is larger than {MAX_DOCUMENT} bytes")));
        }
        let mut bytes = Vec::new();
        self.fetch_blob(blob, &mut bytes).await?;
        Ok(bytes)
    }

    /// One attempt; it may end early. `received` is told how many bytes have come.
    pub(super) async fn fetch_once(
        &self,
        blob: &Descriptor,
        sink: &mut (impl Write + Send),
        what: &str,
        received: impl Fn(u64),
    ) -> Result<(), Failure> {
        let request = self.request(Method::GET, self.url(&format!("blobs/{}", blob.digest)).await?, what);
        let reply = self.send(&request).await?;
        if reply.status != 200 {
            return Err(self.refusal(what, &reply).into());
        }
        let length = reply.length();
        let Some(mut response) = reply.response else { return Err(self.answer(what, "it sends nothing").into()) };
        // What it announces is compared before a byte of it is kept. What is less breaks off, and is asked for again: a page
        // of a proxy, or an answer that was cut.
        if let Some(length) = length.filter(|length| *length > blob.size) {
            let found = format_args!("the registry sends {length} bytes and not {}", blob.size);
            return Err(Error::mismatch(what, blob.digest, found).into());
        }
        let (mut left, mut rate) = (blob.size, LeastRate::new(self.client.progress_timeout));
        while let Some(piece) = self.client.next_piece(&mut response, &mut rate).await? {
            // A registry that sends more does not get to fill the disk.
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| Error::mismatch(what, blob.digest, "the registry sends more"))?;
            sink.write_all(&piece).map_err(|source| Error::write(what, source))?;
            received(blob.size - left);
        }
        Ok(())
    }
}
