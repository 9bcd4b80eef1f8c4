//! A reader that ends in an error when an archive unpacks to too much.

use std::{
    cell::Cell,
    io::{self, Read},
};

use crate::error::Error;

/// Counts what is read against a budget that several readers share.
pub(super) struct Limited<'a, R> {
    inner: R,
    left: &'a Cell<u64>,
}

impl<'a, R> Limited<'a, R> {
    pub fn new(inner: R, left: &'a Cell<u64>) -> Self {
        Self { inner, left }
    }
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.get().checked_sub(read as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other(Exceeded)),
        }
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the data is larger than the limit")]
struct Exceeded;

/// Whether an error comes from a [`Limited`] reader.
fn is_exceeded(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Exceeded>())
}

/// Whose archive is read, and the most bytes that it may unpack to.
pub(super) struct Limit<'a> {
    pub package: &'a str,
    pub bytes: u64,
}

impl Limit<'_> {
    /// What a failed read of the unpacked bytes means.
    pub fn broken(&self, error: io::Error) -> Error {
        if is_exceeded(&error) {
            return Error::TooBig { package: self.package.into(), what: "unpacked bytes", limit: self.bytes };
        }
        Error::archive(self.package, format!("it is damaged or truncated: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_a_budget() {
        let left = Cell::new(5);
        let mut sink = Vec::new();
        Limited::new(&b"abc"[..], &left).read_to_end(&mut sink).unwrap();
        Limited::new(&b"de"[..], &left).read_to_end(&mut sink).unwrap();
        assert!(is_exceeded(&Limited::new(&b"f"[..], &left).read_to_end(&mut sink).unwrap_err()));
    }
}
