//! A download between its tries: what is asked for, and how far it came.

use reqwest::header::HeaderValue;
use url::Url;

use crate::{ArchiveCache, FetchItem, cache::Incoming};
use pixi_oci_net::Client;

/// An archive whose length the lock file does not give (a wheel) may not fill the disk.
pub(crate) const MAX_ARCHIVE: u64 = 16 << 30;

/// A download, whatever number of tries it takes.
pub(super) struct Download<'a> {
    pub(super) cache: &'a ArchiveCache,
    pub(super) item: &'a FetchItem,
    pub(super) url: &'a Url,
    pub(super) client: &'a Client,
    pub(super) progress: &'a (dyn Fn(u64) + Send + Sync),
}

#[derive(Default)]
pub(super) struct Transfer {
    /// The beginning of the archive.
    pub(super) incoming: Option<Incoming>,
    /// What says that the server still has the same file.
    pub(super) validator: Option<HeaderValue>,
    /// Whether the bytes are of more than one answer.
    pub(super) resumed: bool,
    /// Bytes of the longest beginning so far.
    pub(super) farthest: u64,
}

impl Transfer {
    pub(super) fn position(&self) -> u64 {
        self.incoming.as_ref().map_or(0, |incoming| incoming.size)
    }

    pub(super) fn restart(&mut self) {
        *self = Self { farthest: self.farthest, ..Self::default() };
    }
}
