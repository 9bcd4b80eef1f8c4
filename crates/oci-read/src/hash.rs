//! SHA-256 of what is read.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Counts and hashes what is read through it. A reader that failed once fails for good: some decompressors report an
/// error once and then claim to be at the end.
pub struct HashReader<R> {
    inner: R,
    sha256: Sha256,
    read: u64,
    failed: Option<String>,
}

impl<R> HashReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, sha256: Sha256::new(), read: 0, failed: None }
    }

    /// The digest and the number of the bytes that were read.
    pub fn finish(self) -> ([u8; 32], u64) {
        (self.sha256.finalize().into(), self.read)
    }

    pub(crate) fn inner(&self) -> &R {
        &self.inner
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        let n = self.inner.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = Some(error.to_string());
            }
        })?;
        self.sha256.update(&buffer[..n]);
        self.read += n as u64;
        Ok(n)
    }
}
