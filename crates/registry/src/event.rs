//! What a registry client says while it works.

use std::{sync::Arc, time::Duration};

use pixi_oci_layer::Digest;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The registry warns (`Warning` header). Already safe to print.
    Warning(String),
    /// Tokens for `registry` come from another host. Said once.
    TokenService {
        registry: String,
        /// Who gets the credentials.
        host: String,
    },
    Retry {
        what: String,
        why: String,
        wait: Duration,
    },
    /// A blob is being sent; `sent` counts from its begin and starts again with each attempt.
    Sent {
        blob: Digest,
        sent: u64,
        size: u64,
    },
    Receiving {
        blobs: usize,
        bytes: u64,
    },
    /// A blob is being fetched; `received` counts from its begin and starts again with each attempt.
    Received {
        blob: Digest,
        received: u64,
        size: u64,
    },
    /// A blob is there now: uploaded, mounted, or it was there before.
    BlobDone {
        blob: Digest,
        size: u64,
        how: Arrival,
    },
    Tagged {
        tag: String,
        digest: Digest,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    Present,
    /// The registry linked it from another of its repositories.
    Mounted,
    Uploaded,
}

/// Who is told. It is called from several tasks and must not block.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

pub fn no_events() -> Events {
    Arc::new(|_| ())
}
