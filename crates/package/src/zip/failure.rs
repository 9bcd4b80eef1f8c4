//! What is wrong with a zip.

use std::io;

use crate::error::Refusal;

/// Which zips are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Members are stored or deflated.
    Deflated,
    /// Members are stored. Their lengths may follow them, as builders write that cannot seek.
    Stored,
}

pub(super) enum ZipFault {
    Io(io::Error),
    Invalid(String),
    /// A member whose name or type is refused.
    Member(String, Refusal),
}

impl From<io::Error> for ZipFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) fn invalid<T>(reason: impl Into<String>) -> Result<T, ZipFault> {
    Err(ZipFault::Invalid(reason.into()))
}
