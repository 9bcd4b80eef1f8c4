//! Why the HTTP client could not be set up.

use std::{io, path::PathBuf};

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot set up the HTTP client: {message}")]
    Client { message: String },

    /// A file of logins or certificates could not be read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. `read the logins in`.
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}
