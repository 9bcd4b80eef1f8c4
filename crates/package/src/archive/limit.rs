//! A reader that ends in an error when an archive unpacks to too much.

use std::{
    cell::Cell,
    io::{self, Read},
};

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
pub(super) fn is_exceeded(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Exceeded>())
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
