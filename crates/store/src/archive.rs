//! What archives and SIFs have in common: blobs are collected, and the files are written at the end. Of archives it is one
//! sorted tar.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pixi_oci_cachedir::{staged_file, sweep_files};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_registry::document::References;
use tempfile::NamedTempFile;

use crate::{
    BlobSource, Destination, Error,
    destination::{check_bytes, check_length, copy_checked, open_source},
};

/// The time of every entry: 1970-01-01, as the archive is no older or younger than its content.
const MTIME: u64 = 0;

/// What is written, or replaced, when a root is put; until then it is only collected.
pub(crate) struct Collecting<F> {
    blobs: Collection,
    /// Takes a root and its name, as [`Destination::put_root`].
    put_root: F,
}

impl<F> Collecting<F>
where
    F: Fn(&Collection, &Descriptor, &[u8], Option<&str>) -> Result<(), Error> + Send + Sync,
{
    /// One that will be written to `path`.
    pub(crate) fn new(path: PathBuf, put_root: F) -> Self {
        Self { blobs: Collection { path, blobs: Mutex::default() }, put_root }
    }
}

impl<F> Destination for Collecting<F>
where
    F: Fn(&Collection, &Descriptor, &[u8], Option<&str>) -> Result<(), Error> + Send + Sync,
{
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.blobs.has(blob))
    }

    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        self.blobs.put(blob, source)
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.blobs.put_document(manifest, bytes).map(drop)
    }

    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error> {
        (self.put_root)(&self.blobs, root, bytes, name)
    }
}

/// Blobs and documents by digest. Files are kept open, so that their owner may rename or remove them.
pub(crate) struct Collection {
    pub(crate) path: PathBuf,
    blobs: Mutex<BTreeMap<Digest, Collected>>,
}

#[derive(Debug, Clone)]
struct Collected {
    descriptor: Descriptor,
    content: EntryContent,
}

#[derive(Debug, Clone)]
enum EntryContent {
    Directory,
    Bytes(Arc<[u8]>),
    /// With what it has to be.
    File(Arc<File>, PathBuf, Descriptor),
}

/// An entry of the archive; they are sorted by name when it is written.
#[derive(Debug)]
pub(crate) struct ArchiveEntry {
    name: String,
    content: EntryContent,
}

impl ArchiveEntry {
    pub(crate) fn directory(name: &str) -> Self {
        Self { name: name.into(), content: EntryContent::Directory }
    }

    pub(crate) fn bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), content: EntryContent::Bytes(bytes.into()) }
    }
}

impl Collection {
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Collected>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, blob: &Descriptor) -> bool {
        self.blobs().get(&blob.digest).is_some_and(|have| have.descriptor.size == blob.size)
    }

    /// Takes a blob. A file's content is checked when the archive is written, and its length now.
    pub(crate) fn put(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        let content = match source {
            BlobSource::Bytes(bytes) => {
                check_bytes(blob, bytes)?;
                EntryContent::Bytes(bytes.into())
            }
            BlobSource::File(path) => {
                let file = open_source(path)?;
                let size = file.metadata().map_err(Error::io("read", path))?.len();
                check_length(path, size, blob.digest, blob.size)?;
                EntryContent::File(Arc::new(file), path.to_owned(), blob.clone())
            }
        };
        self.blobs().insert(blob.digest, Collected { descriptor: blob.clone(), content });
        Ok(())
    }

    /// Takes a manifest or index whose blobs are all here.
    pub(crate) fn put_document(&self, document: &Descriptor, bytes: &[u8]) -> Result<References, Error> {
        let references = References::parse(document, bytes)?;
        if let Some(missing) = references.all().find(|blob| !self.has(blob)) {
            return Err(Error::missing(document, missing, &self.path));
        }
        self.put(document, BlobSource::Bytes(bytes))?;
        Ok(references)
    }

    fn references(&self, document: &Descriptor) -> Result<References, Error> {
        match self.blobs().get(&document.digest) {
            Some(Collected { content: EntryContent::Bytes(bytes), .. }) => Ok(References::parse(document, bytes)?),
            _ => Err(Error::missing(document, document, &self.path)),
        }
    }

    pub(crate) fn document(&self, document: &Descriptor) -> Option<Arc<[u8]>> {
        match &self.blobs().get(&document.digest)?.content {
            EntryContent::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(crate) fn file(&self, blob: &Descriptor) -> Option<Arc<File>> {
        match &self.blobs().get(&blob.digest)?.content {
            EntryContent::File(file, ..) => Some(file.clone()),
            _ => None,
        }
    }

    /// One entry for each thing that was collected, named by `name`.
    pub(crate) fn entries(&self, name: impl Fn(&Descriptor) -> Option<String>) -> Vec<ArchiveEntry> {
        let named =
            |have: &Collected| name(&have.descriptor).map(|name| ArchiveEntry { name, content: have.content.clone() });
        self.blobs().values().filter_map(named).collect()
    }

    /// Takes a root, an image manifest or an index of them; gives the manifests, each with its configuration and layers.
    pub(crate) fn put_root(
        &self,
        root: &Descriptor,
        bytes: &[u8],
    ) -> Result<Vec<(Descriptor, Descriptor, Vec<Descriptor>)>, Error> {
        let manifests = match self.put_document(root, bytes)? {
            References::Manifest { config, layers } => return Ok(vec![(root.clone(), config, layers)]),
            References::Index(manifests) => manifests,
        };
        let image = |manifest: Descriptor| match self.references(&manifest)? {
            References::Manifest { config, layers } => Ok((manifest, config, layers)),
            References::Index(_) => {
                let (kind, reason) = ("an index of image manifests", "it names another index".into());
                Err(Error::Document { what: root.digest.to_string(), kind, reason })
            }
        };
        manifests.into_iter().map(image).collect()
    }
}

/// The directory and the file name of an archive. Fails for what cannot be one, before a build begins.
pub(crate) fn dir_and_name(path: &Path) -> Result<(&Path, String), Error> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match path.file_name() {
        Some(name) if !path.is_dir() => Ok((dir, name.to_string_lossy().into_owned())),
        _ => Err(Error::io("write", path)(io::Error::other("it is a directory, and an archive is a file"))),
    }
}

/// A file beside `path`, to be renamed when it is whole; removes what killed processes left there.
pub(crate) fn staged(path: &Path) -> Result<NamedTempFile, Error> {
    let (dir, name) = dir_and_name(path)?;
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let prefix = format!(".{name}.partial-");
    sweep_files(dir, &prefix).map_err(Error::io("clean up", dir))?;
    staged_file(dir, &prefix).map_err(Error::io("create a file in", dir))
}

/// Writes the archive beside `path` and renames it there when it is whole and every blob was what it should be.
pub(crate) fn write(path: &Path, mut entries: Vec<ArchiveEntry>) -> Result<(), Error> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let staged = staged(path)?;
    let mut tar = io::BufWriter::with_capacity(1 << 20, staged.as_file());
    for entry in &entries {
        append(&mut tar, entry, path)?;
    }
    // The end of a tar: two empty blocks (POSIX pax, "ustar Interchange Format").
    tar.write_all(&[0; 1024]).and_then(|()| tar.flush()).map_err(Error::io("write", path))?;
    drop(tar);
    staged.persist(path).map(drop).map_err(|error| Error::io("write", path)(error.error))
}

fn append(tar: &mut impl Write, entry: &ArchiveEntry, archive: &Path) -> Result<(), Error> {
    let cannot_write = || Error::io("write", archive);
    let (kind, mode, size) = match &entry.content {
        EntryContent::Directory => (tar::EntryType::Directory, 0o755, 0),
        EntryContent::Bytes(bytes) => (tar::EntryType::Regular, 0o644, bytes.len() as u64),
        EntryContent::File(.., blob) => (tar::EntryType::Regular, 0o644, blob.size),
    };
    let mut header = tar::Header::new_gnu();
    header.set_path(&entry.name).map_err(cannot_write())?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    tar.write_all(header.as_bytes()).map_err(cannot_write())?;
    match &entry.content {
        EntryContent::Directory => {}
        EntryContent::Bytes(bytes) => tar.write_all(bytes).map_err(cannot_write())?,
        EntryContent::File(file, path, blob) => {
            let mut file: &File = file;
            file.rewind().map_err(Error::io("read", path))?;
            copy_checked(blob, &mut Read::by_ref(&mut file), path, tar, archive)?;
        }
    }
    let padding = (512 - size % 512) % 512;
    tar.write_all(&[0; 512][..padding as usize]).map_err(cannot_write())
}
