//! What cannot be done with files.

use std::{io, path::PathBuf};

/// Something could not be done with a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// As an infinitive.
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// For `map_err`: gives an error its action and path.
pub fn cannot(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
    let path = path.into();
    move |source| FileError { action, path, source }
}
