//! The bytes of files between unpacking and the layer.
//!
//! A package archive yields files in its own order, a layer wants them in the order of paths. So contents wait: in
//! memory while the budget that all layers in the making share lasts, then in an unnamed spool file.

use std::{
    fs,
    io::{self, Read, Write},
    ops::Deref,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use memmap2::{MmapMut, MmapOptions};
use pixi_oci_platform::{Links, open};

/// The bytes of one file, wherever they are. Clones share them.
#[derive(Debug, Clone)]
pub struct Content(Storage);

#[derive(Debug, Clone)]
enum Storage {
    Memory(Arc<Held>),
    Spool { file: Arc<fs::File>, offset: u64, len: u64 },
    Path { path: Arc<Path>, len: u64 },
}

#[derive(Debug)]
struct Held {
    bytes: Bytes,
    _lease: Option<Lease>,
}

/// From this length on contents have pages of their own. What an allocator gets back it mostly keeps, and several threads
/// take and give contents of all lengths: a process would soon hold twice its budget.
const OWN_PAGES: usize = 64 << 10;

#[derive(Debug)]
enum Bytes {
    Heap(Vec<u8>),
    Pages(MmapMut),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }
}

impl Content {
    /// Bytes that are at hand and small; they do not count against a budget.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Storage::Memory(Arc::new(Held { bytes: Bytes::Heap(bytes.into()), _lease: None })))
    }

    /// A file on disk that is `len` bytes long; it is read when the content is used, and must not change until then.
    pub fn from_file(path: PathBuf, len: u64) -> Self {
        Self(Storage::Path { path: path.into(), len })
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Storage::Memory(held) => held.bytes.len() as u64,
            Storage::Spool { len, .. } | Storage::Path { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes exactly [`Content::len`] bytes to `sink`; a file on disk that became shorter or longer is an error.
    pub fn copy_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        match &self.0 {
            Storage::Memory(held) => sink.write_all(&held.bytes),
            Storage::Spool { file, offset, len } => copy_range(file, *offset, *len, sink),
            Storage::Path { path, len } => {
                let file = open(path, Links::Follow).map_err(|e| at(path, e))?;
                if file.metadata().map_err(|e| at(path, e))?.len() != *len {
                    return Err(at(path, io::Error::other("its length changed while it was read")));
                }
                copy_range(&file, 0, *len, sink).map_err(|e| at(path, e))
            }
        }
    }

    /// The file on disk that [`Content::from_file`] named.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Storage::Path { path, .. } => Some(path),
            _ => None,
        }
    }

    /// At most the first `max` bytes.
    pub fn prefix(&self, max: usize) -> io::Result<Vec<u8>> {
        let len = self.len().min(max as u64);
        let mut bytes = Vec::with_capacity(len as usize);
        match &self.0 {
            Storage::Memory(held) => bytes.extend_from_slice(&held.bytes[..len as usize]),
            Storage::Spool { file, offset, .. } => copy_range(file, *offset, len, &mut bytes)?,
            Storage::Path { path, .. } => {
                let file = open(path, Links::Follow).map_err(|e| at(path, e))?;
                copy_range(&file, 0, len, &mut bytes).map_err(|e| at(path, e))?;
            }
        }
        Ok(bytes)
    }

    /// All bytes in memory.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.len() as usize);
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn copy_range(file: &fs::File, mut offset: u64, len: u64, sink: &mut dyn Write) -> io::Result<()> {
    let end = offset + len;
    let mut buffer = vec![0; len.min(256 * 1024) as usize];
    while offset < end {
        let want = (end - offset).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..want], offset)?;
        sink.write_all(&buffer[..want])?;
        offset += want as u64;
    }
    Ok(())
}

/// How many bytes of content may wait in memory, shared by everything that is unpacked at the same time.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    total: usize,
    left: Mutex<usize>,
    freed: Condvar,
}

#[derive(Debug)]
struct Lease {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Budget { total: bytes, left: Mutex::new(bytes), freed: Condvar::new() }))
    }

    /// What is left. A number cannot be left half-changed by a thread that panicked.
    fn left(&self) -> MutexGuard<'_, usize> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: usize) -> Option<Lease> {
        let mut left = self.left();
        *left = left.checked_sub(bytes)?;
        Some(Lease { budget: self.clone(), bytes })
    }

    /// Waits until there are `bytes`, which the budget must have in all.
    fn wait_for(&self, bytes: usize) -> Lease {
        let enough = self.0.freed.wait_while(self.left(), |left| *left < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Lease { budget: self.clone(), bytes }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.budget.left() += self.bytes;
        self.budget.0.freed.notify_all();
    }
}

/// Where the contents of one package wait. Dropping the store and its contents frees memory and disk.
#[derive(Debug)]
pub struct ContentStore {
    budget: MemoryBudget,
    reserved: Option<Lease>,
    directory: PathBuf,
    spool: Option<(Arc<fs::File>, u64)>,
}

impl ContentStore {
    /// Keeps contents in memory while `budget` lasts, then in an unnamed file in `directory`.
    pub fn new(budget: &MemoryBudget, directory: &Path) -> Self {
        Self { budget: budget.clone(), reserved: None, directory: directory.into(), spool: None }
    }

    /// Waits until the budget has `bytes`, or all of it if it is smaller, and keeps them for this store: what is written to
    /// the disk because of others is read again a moment later. Who calls this must not hold contents of another store with
    /// this budget, or waits for itself.
    pub fn reserve(&mut self, bytes: u64) {
        self.reserved = None;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.budget.0.total);
        self.reserved = Some(self.budget.wait_for(bytes));
    }

    fn lease(&mut self, bytes: usize) -> Option<Lease> {
        if let Some(reserved) = &mut self.reserved
            && let Some(left) = reserved.bytes.checked_sub(bytes)
        {
            reserved.bytes = left;
            return Some(Lease { budget: self.budget.clone(), bytes });
        }
        self.budget.take(bytes)
    }

    /// Reads exactly `len` bytes. A reader that ends before is an `UnexpectedEof` error.
    pub fn put(&mut self, reader: &mut dyn Read, len: u64) -> io::Result<Content> {
        let mut reader = reader.take(len);
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the data ends too early");
        // What is reserved here is bounded by the budget, whatever length an archive claims.
        if let Some(lease) = usize::try_from(len).ok().and_then(|len| self.lease(len)) {
            let mut bytes = match len as usize {
                small @ ..OWN_PAGES => Bytes::Heap(vec![0; small]),
                // All of it is written at once: a fault for each page would cost as much as hashing does.
                large => Bytes::Pages(MmapOptions::new().len(large).populate().map_anon()?),
            };
            let place = match &mut bytes {
                Bytes::Heap(bytes) => &mut bytes[..],
                Bytes::Pages(pages) => &mut pages[..],
            };
            reader.read_exact(place).map_err(|e| if e.kind() == io::ErrorKind::UnexpectedEof { short() } else { e })?;
            return Ok(Content(Storage::Memory(Arc::new(Held { bytes, _lease: Some(lease) }))));
        }
        let (file, offset) = match self.spool.take() {
            Some(spool) => spool,
            None => (Arc::new(tempfile::tempfile_in(&self.directory).map_err(|e| at(&self.directory, e))?), 0),
        };
        // The spool's own position is its end: only this store writes, and contents are read by offset.
        let written = io::copy(&mut reader, &mut &*file)?;
        self.spool = Some((file.clone(), offset + written));
        if written != len {
            return Err(short());
        }
        Ok(Content(Storage::Spool { file, offset, len }))
    }

    /// Keeps bytes that are in memory already.
    pub fn put_bytes(&mut self, bytes: Vec<u8>) -> io::Result<Content> {
        if bytes.len() < OWN_PAGES
            && let Some(lease) = self.lease(bytes.len())
        {
            return Ok(Content(Storage::Memory(Arc::new(Held { bytes: Bytes::Heap(bytes), _lease: Some(lease) }))));
        }
        self.put(&mut &bytes[..], bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spools_what_exceeds_the_budget_and_gives_memory_back() {
        let budget = MemoryBudget::new(10);
        let mut store = ContentStore::new(&budget, &std::env::temp_dir());
        let kept = store.put(&mut &b"0123456"[..], 7).unwrap();
        let first = store.put(&mut &b"abcdefgh"[..], 8).unwrap();
        let second = store.put_bytes(b"ABCDE".to_vec()).unwrap();
        assert!(matches!(kept.0, Storage::Memory(_)));
        assert!(matches!(first.0, Storage::Spool { .. }) && matches!(second.0, Storage::Spool { .. }));
        assert_eq!(kept.to_vec().unwrap(), b"0123456");
        assert_eq!(first.to_vec().unwrap(), b"abcdefgh");
        assert_eq!(second.to_vec().unwrap(), b"ABCDE");
        drop(kept);
        assert_eq!(*budget.left(), 10);
    }

    #[test]
    fn what_is_reserved_is_there_and_others_wait_for_it() {
        let budget = MemoryBudget::new(10);
        let store = || ContentStore::new(&budget, &std::env::temp_dir());
        let mut first = store();
        first.reserve(8);
        assert!(matches!(store().put(&mut &b"abc"[..], 3).unwrap().0, Storage::Spool { .. }));
        let kept = first.put(&mut &b"abcd"[..], 4).unwrap();
        assert!(matches!(kept.0, Storage::Memory(_)));
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut second = store();
                // More than there is: all of it.
                second.reserve(1 << 40);
                second.put(&mut &b"0123456789"[..], 10).unwrap()
            });
            drop((first, kept));
            second.join().unwrap()
        });
        assert!(matches!(second.0, Storage::Memory(_)));
        drop(second);
        assert_eq!(*budget.left(), 10);
    }

    #[test]
    fn long_contents_are_the_same_in_pages_of_their_own() {
        let mut store = ContentStore::new(&MemoryBudget::new(1 << 20), &std::env::temp_dir());
        for len in [OWN_PAGES - 1, OWN_PAGES, OWN_PAGES + 5000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let put = store.put(&mut &bytes[..], len as u64).unwrap();
            let given = store.put_bytes(bytes.clone()).unwrap();
            for content in [&put, &given] {
                assert!(
                    matches!(&content.0, Storage::Memory(held) if matches!(held.bytes, Bytes::Pages(_)) == (len >= OWN_PAGES))
                );
                assert!(content.to_vec().unwrap() == bytes && content.prefix(9).unwrap() == bytes[..9]);
            }
        }
        let short = store.put(&mut &vec![0; OWN_PAGES][..], OWN_PAGES as u64 + 1).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_was_spooled_is_read_from_where_it_is_to_its_end() {
        let mut store = ContentStore::new(&MemoryBudget::new(0), &std::env::temp_dir());
        let long: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
        let mut put = |bytes: &[u8]| store.put(&mut &*bytes, bytes.len() as u64).unwrap();
        let contents = [put(b"before"), put(&long), put(b"after")];
        assert!(contents[1].to_vec().unwrap() == long);
        assert_eq!(contents[2].to_vec().unwrap(), b"after");
        assert!(contents[1].prefix(300_000).unwrap() == long[..300_000]);
    }

    #[test]
    fn a_short_reader_and_a_changed_file_are_errors() {
        let mut store = ContentStore::new(&MemoryBudget::new(10), &std::env::temp_dir());
        assert_eq!(store.put(&mut &b"abc"[..], 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(store.put(&mut &b"abc"[..], 1 << 60).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let content = Content::from_file(file.path().into(), 2);
        assert!(content.to_vec().unwrap_err().to_string().contains("changed"));
        assert_eq!(content.path(), Some(file.path()));
        let (kept, none) = (Content::from_bytes(*b"abc"), Content::from_bytes([]));
        assert!(kept.path().is_none() && !kept.is_empty() && none.is_empty());
    }
}
