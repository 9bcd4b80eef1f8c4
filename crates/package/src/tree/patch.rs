//! Contents on their way into the store: verbatim, or with the prefix placeholder replaced.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, Write},
    path::Path,
};

use memmap2::Mmap;
use pixi_oci_layer::{Content, ContentStore, TreePath};
use pixi_oci_platform::escape;
use rattler::install::link::{
    OffsetReplaceError, copy_and_replace_placeholders, copy_and_replace_placeholders_with_offsets,
};
use rattler_conda_types::{
    Subdir,
    package::{OffsetEncoding, PrefixPlaceholder},
};
use rattler_digest::{Sha256, Sha256Hash, digest::Digest as _};
use tempfile::{SpooledData, spooled_tempfile_in};

use crate::{
    archive::Archive,
    error::{Error, Refusal},
    prefix::TargetPrefix,
};

/// What is larger is patched from a file to a file.
const IN_MEMORY: u64 = 32 << 20;
/// The most places in one file where a placeholder is replaced: a hundred times what large packages have.
const MAX_MATCHES: usize = 500_000;

/// Bytes with the placeholder replaced.
#[derive(Clone)]
pub(super) struct Patched {
    pub content: Content,
    pub sha256: Sha256Hash,
}

/// Keeps the bytes of an entry as they are, and hashes them.
pub(super) fn keep(
    archive: &Archive,
    path: &TreePath,
    body: &mut dyn Read,
    size: u64,
    store: &mut ContentStore,
) -> Result<(Content, Sha256Hash), Error> {
    let mut body = Body { inner: body, hash: Some(Sha256::new()), error: None };
    let content = store.put(&mut body, size);
    match (body.error, content) {
        (Some(error), _) => Err(archive.broken(error)),
        (None, Ok(content)) => Ok((content, body.hash.unwrap_or_default().finalize())),
        (None, Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(archive.broken(error)),
        (None, Err(source)) => Err(Error::Store { package: archive.name.clone(), path: path.as_str().into(), source }),
    }
}

/// A reader that remembers its error, to tell a damaged archive from a full disk.
struct Body<'a> {
    inner: &'a mut dyn Read,
    hash: Option<Sha256>,
    error: Option<io::Error>,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                if let Some(hash) = &mut self.hash {
                    hash.update(&buffer[..read]);
                }
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.error = Some(error);
                Err(io::Error::other("the archive cannot be read"))
            }
        }
    }
}

/// Replaces placeholders as rattler's `link_file` does.
pub(super) struct Patcher<'a> {
    archive: &'a Archive,
    prefix: &'a TargetPrefix,
    subdir: Subdir,
    scratch: &'a Path,
    /// How many bytes all patched files may still have: a placeholder of one byte makes a file 200 times as long.
    left: u64,
}

impl<'a> Patcher<'a> {
    pub fn new(archive: &'a Archive, prefix: &'a TargetPrefix, subdir: Subdir, scratch: &'a Path) -> Self {
        Self { archive, prefix, subdir, scratch, left: archive.limit() }
    }

    /// Replaces `placeholder` in the body of an entry.
    pub fn patch(
        &mut self,
        path: &TreePath,
        body: &mut dyn Read,
        size: u64,
        placeholder: &PrefixPlaceholder,
        store: &mut ContentStore,
    ) -> Result<Patched, Error> {
        self.check_len(size)?;
        if size <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(size as usize);
            body.read_to_end(&mut bytes).map_err(|e| self.archive.broken(e))?;
            return self.replace(path, &bytes, placeholder, store);
        }
        let mut file = self.scratch_file(path)?;
        let mut body = Body { inner: body, hash: None, error: None };
        let copied = io::copy(&mut body, &mut file);
        if let Some(error) = body.error {
            return Err(self.archive.broken(error));
        }
        copied.map_err(|e| self.store(path, e))?;
        self.replace_mapped(path, &file, placeholder, store)
    }

    /// Replaces `placeholder` in bytes that were kept.
    pub fn patch_content(
        &mut self,
        path: &TreePath,
        content: &Content,
        placeholder: &PrefixPlaceholder,
        store: &mut ContentStore,
    ) -> Result<Patched, Error> {
        self.check_len(content.len())?;
        if content.len() <= IN_MEMORY {
            let bytes = content.to_vec().map_err(|e| self.store(path, e))?;
            return self.replace(path, &bytes, placeholder, store);
        }
        let mut file = self.scratch_file(path)?;
        content.copy_to(&mut file).map_err(|e| self.store(path, e))?;
        self.replace_mapped(path, &file, placeholder, store)
    }

    fn scratch_file(&self, path: &TreePath) -> Result<File, Error> {
        tempfile::tempfile_in(self.scratch).map_err(|e| self.store(path, e))
    }

    fn replace_mapped(
        &mut self,
        path: &TreePath,
        file: &File,
        placeholder: &PrefixPlaceholder,
        store: &mut ContentStore,
    ) -> Result<Patched, Error> {
        // SAFETY: nobody else can change the file: it has no name, and this function's caller holds its only handle.
        #[allow(unsafe_code)]
        let bytes = unsafe { Mmap::map(file) }.map_err(|e| self.store(path, e))?;
        self.replace(path, &bytes, placeholder, store)
    }

    fn replace(
        &mut self,
        path: &TreePath,
        bytes: &[u8],
        placeholder: &PrefixPlaceholder,
        store: &mut ContentStore,
    ) -> Result<Patched, Error> {
        self.check_matches(bytes, placeholder)?;
        let spool = spooled_tempfile_in(IN_MEMORY as usize, self.scratch);
        let mut sink =
            BufWriter::new(Sink { inner: spool, hash: Sha256::new(), written: 0, limit: self.left, error: None });
        let done = self.replace_to(bytes, &mut sink, placeholder).and_then(|()| sink.flush());
        // Whatever is left in the buffer after an error is of no use.
        let sink = sink.into_parts().0;
        if sink.written > sink.limit {
            let (what, limit) = ("bytes with the prefix placeholder replaced", self.archive.limit());
            return Err(Error::TooBig { package: self.archive.name.clone(), what, limit });
        }
        if let Some(error) = sink.error {
            return Err(self.store(path, error));
        }
        done.map_err(|e| Error::path(&self.archive.name, path.as_str(), Refusal::Placeholder(escape(&e.to_string()))))?;
        self.left -= sink.written;
        let content = match sink.inner.into_inner() {
            SpooledData::InMemory(bytes) => store.put_bytes(bytes.into_inner()),
            SpooledData::OnDisk(mut file) => file.rewind().and_then(|()| store.put(&mut file, sink.written)),
        };
        Ok(Patched { content: content.map_err(|e| self.store(path, e))?, sha256: sink.hash.finalize() })
    }

    /// rattler has a list of all places, of 100 to 200 bytes each, before it writes anything.
    fn check_matches(&self, bytes: &[u8], placeholder: &PrefixPlaceholder) -> Result<(), Error> {
        let mut left = MAX_MATCHES;
        for encoding in OffsetEncoding::DEFINED {
            let text = encoding.encode(&placeholder.placeholder);
            if !text.is_empty() {
                left = left.saturating_sub(memchr::memmem::find_iter(bytes, &text).take(MAX_MATCHES).count());
            }
        }
        if left > 0 {
            return Ok(());
        }
        let what = "places in a file that have the prefix placeholder";
        Err(Error::TooBig { package: self.archive.name.clone(), what, limit: MAX_MATCHES as u64 })
    }

    /// What is patched is in memory or mapped to it.
    fn check_len(&self, size: u64) -> Result<(), Error> {
        let (what, limit) = ("bytes in a file that has the prefix placeholder", self.archive.max_patched());
        if size <= limit {
            return Ok(());
        }
        Err(Error::TooBig { package: self.archive.name.clone(), what, limit })
    }

    /// The offsets that a package may record are only a help: if they are wrong, the placeholder is searched for.
    fn replace_to(&self, bytes: &[u8], mut sink: impl Write, placeholder: &PrefixPlaceholder) -> io::Result<()> {
        let (text, prefix, mode) = (&placeholder.placeholder, self.prefix.as_str(), placeholder.file_mode);
        if let Some(Ok(offsets)) = &placeholder.experimental_offsets {
            let spliced =
                copy_and_replace_placeholders_with_offsets(bytes, &mut sink, text, prefix, &self.subdir, mode, offsets);
            match spliced {
                Ok(()) => return Ok(()),
                // Nothing has been written then.
                Err(OffsetReplaceError::InconsistentMetadata(_)) => {}
                Err(OffsetReplaceError::Io(error)) => return Err(error),
            }
        }
        copy_and_replace_placeholders(bytes, sink, text, prefix, &self.subdir, mode)
    }

    fn store(&self, path: &TreePath, source: io::Error) -> Error {
        Error::Store { package: self.archive.name.clone(), path: path.as_str().into(), source }
    }
}

/// Hashes and counts what is written, and remembers its error.
struct Sink<W> {
    inner: W,
    hash: Sha256,
    written: u64,
    limit: u64,
    error: Option<io::Error>,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if self.written > self.limit {
            return Err(io::Error::other("too long"));
        }
        if let Err(error) = self.inner.write_all(bytes) {
            self.error = Some(error);
            return Err(io::Error::other("cannot write"));
        }
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
