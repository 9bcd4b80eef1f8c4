//! An OCI layout: a directory of blobs by digest, and an `index.json` with their names (OCI image-spec,
//! image-layout.md).
//!
//! **Invariants.** A file has its name only when it is whole. `index.json` is changed under a lock and never names what
//! is not there, so any number of builds, in threads or processes, can write to one layout and lose nothing. Files of
//! others are left alone. Nothing is ever removed but the temporary files of dead processes: a blob that no name leads
//! to any more may be one that another build, running right now, has found and is about to name. `umoci gc`, or a new
//! directory, frees the space.
//!
//! `index.json` is synced to the disk, blobs are not: a machine that loses power can lose a blob, which the next build
//! sees by its size and writes again, and an fsync of every layer would cost each build more than the compression.

mod beside;
mod names;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use oci_read::document::is_layout;
use pixi_oci_cachedir::{is_at, lock, staged_file, sweep_files};
use pixi_oci_image::Descriptor;
use pixi_oci_layer::Digest;
use pixi_oci_platform::{Links, open_lock, read};
use pixi_oci_registry::document::References;
use tempfile::NamedTempFile;

use self::beside::Beside;
use crate::{
    BlobSource, Destination, Error,
    destination::{check_bytes, check_length, copy_checked, open_source},
    image_name::check_layout_name,
};

/// The content of the file `oci-layout`.
pub(crate) const LAYOUT_MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// How the names of unfinished files start. They are in the layout's directory, so that `blobs` has only blobs.
const STAGING_PREFIX: &str = ".pixi-oci-";

#[derive(Debug)]
pub struct OciLayout {
    dir: PathBuf,
    beside: Option<Beside>,
}

impl OciLayout {
    /// Opens a layout, and makes it first where there is none or an empty directory.
    ///
    /// # Errors
    ///
    /// [`Error::NotALayout`] for a directory with other things in it; [`Error::Io`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        // In this order: whoever makes a layout makes the marker first, so a half-made one has it.
        let foreign = fs::read_dir(dir).map_err(Error::io("read", dir))?.next().is_some();
        let layout = Self { dir: dir.to_owned(), beside: None };
        let marker = layout.marker_path();
        if foreign && !fs::symlink_metadata(&marker).is_ok_and(|metadata| metadata.is_file()) {
            return Err(Error::NotALayout { path: dir.to_owned() });
        }
        let mut lock = layout.lock()?;
        let mut version = Vec::new();
        Read::by_ref(&mut lock).take(1024).read_to_end(&mut version).map_err(Error::io("read", &marker))?;
        if version.is_empty() {
            lock.write_all(LAYOUT_MARKER).map_err(Error::io("write", &marker))?;
        } else if !is_layout(&version) {
            let reason = "it does not say imageLayoutVersion 1.0.0".to_owned();
            return Err(Error::Document {
                what: marker.display().to_string(),
                kind: "the marker of an OCI layout",
                reason,
            });
        }
        let blobs = layout.blobs_dir();
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        sweep_files(dir, STAGING_PREFIX).map_err(Error::io("clean up", dir))?;
        Ok(layout)
    }

    /// The same, made to be moved to the layout in another directory, which need not exist: files that are in that one already stay
    /// there when they are [linked](Self::link).
    #[must_use]
    pub fn beside(self, dir: &Path) -> Self {
        Self { beside: Some(Beside::new(blobs_in(dir))), ..self }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.place_beside(digest).unwrap_or_else(|| self.blobs_dir().join(digest.hex()))
    }

    /// Where a blob is that was left in the layout that this one will be moved to.
    pub fn place_beside(&self, digest: &Digest) -> Option<PathBuf> {
        self.beside.as_ref()?.path(digest)
    }

    /// A new file in the layout's file system, for a layer that is being made; [`adopt`](Self::adopt) gives it its name
    /// without copying it. Until then it is removed when dropped.
    pub fn staging(&self) -> Result<NamedTempFile, Error> {
        staged_file(&self.dir, STAGING_PREFIX).map_err(Error::io("create a file in", &self.dir))
    }

    /// Makes a staged file the blob `digest`. The digest is the one that was computed while the file was written; here
    /// only the size is compared.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] for another size; [`Error::Io`].
    pub fn adopt(&self, blob: NamedTempFile, digest: &Digest, size: u64) -> Result<(), Error> {
        let found = blob.as_file().metadata().map_err(Error::io("read", blob.path()))?.len();
        check_length(blob.path(), found, *digest, size)?;
        self.rename(blob, &self.blob_path(digest))
    }

    /// Makes a finished file the blob `digest` by renaming it, if it is in the same file system; says whether it was. The
    /// caller vouches for the digest; the size is compared.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] for another size; [`Error::Io`].
    pub fn adopt_file(&self, file: &Path, blob: &Descriptor) -> Result<bool, Error> {
        let found = fs::metadata(file).map_err(Error::io("read", file))?.len();
        check_length(file, found, blob.digest, blob.size)?;
        let path = self.blob_path(&blob.digest);
        if path == file {
            return Ok(true);
        }
        match fs::rename(file, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(error) => Err(Error::io("write", &path)(error)),
        }
    }

    /// Makes a finished file the blob `digest` and leaves it where it is: by a hard link, or in another file system by a
    /// copy, which is hashed. Says whether the file is there. For a link the caller vouches for the digest; the size is
    /// compared.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] for other bytes or another size; [`Error::Io`].
    pub fn link(&self, file: &Path, blob: &Descriptor) -> Result<bool, Error> {
        if self.has_blob(blob)? || self.beside.as_ref().is_some_and(|beside| beside.take(file, blob)) {
            return Ok(true);
        }
        let path = self.blob_path(&blob.digest);
        match fs::hard_link(file, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Another file system, or one without links; or a file of that name with another size, which is replaced.
            Err(_) => return self.put_blob(blob, BlobSource::File(file)).map(|()| true),
        }
        let found = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        if found != blob.size {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        check_length(file, found, blob.digest, blob.size).map(|()| true)
    }

    /// As [`link`](Self::link) for a file that others may have changed: it is hashed, unless the blob is there already.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] for other bytes or another size; [`Error::Io`], also when there is no file.
    pub fn link_checked(&self, file: &Path, blob: &Descriptor) -> Result<(), Error> {
        if self.has_blob(blob)? {
            return Ok(());
        }
        copy_checked(blob, &mut open_source(file)?, file, &mut io::sink(), file)?;
        // Somebody who removes it now: then there is nothing to link, and the copy says so.
        if !self.link(file, blob)? {
            self.put_blob(blob, BlobSource::File(file))?;
        }
        Ok(())
    }

    fn blobs_dir(&self) -> PathBuf {
        blobs_in(&self.dir)
    }

    fn marker_path(&self) -> PathBuf {
        self.dir.join("oci-layout")
    }

    /// The layout's lock: the file `oci-layout`, because it is the only one that is always there, never replaced, and
    /// not a stray file for other tools. Released when dropped.
    fn lock(&self) -> Result<File, Error> {
        let marker = self.marker_path();
        let lock = || -> io::Result<File> {
            loop {
                let file = open_lock(&marker)?;
                lock(&file)?;
                // While we waited somebody may have removed the directory and made a new one.
                if is_at(&file, &marker)? {
                    return Ok(file);
                }
            }
        };
        lock().map_err(Error::io("lock", &marker))
    }

    fn rename(&self, file: NamedTempFile, to: &Path) -> Result<(), Error> {
        file.persist(to).map(drop).map_err(|error| Error::io("write", to)(error.error))
    }

    fn store(&self, descriptor: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        let path = self.blob_path(&descriptor.digest);
        if let BlobSource::Bytes(bytes) = source {
            check_bytes(descriptor, bytes)?;
            if read(&path, Links::Refuse, descriptor.size).is_ok_and(|there| there == bytes) {
                return Ok(());
            }
        }
        let mut staged = self.staging()?;
        match source {
            BlobSource::Bytes(bytes) => {
                staged.write_all(bytes).map_err(Error::io("write", &path))?;
            }
            BlobSource::File(file) => {
                copy_checked(descriptor, &mut open_source(file)?, file, &mut staged, &path)?;
            }
        }
        self.rename(staged, &path)
    }

    fn check_references(&self, document: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        for blob in References::parse(document, bytes)?.all() {
            if !self.has_blob(blob)? {
                return Err(Error::missing(document, blob, &self.dir));
            }
        }
        Ok(())
    }
}

fn blobs_in(dir: &Path) -> PathBuf {
    dir.join("blobs").join("sha256")
}

impl Destination for OciLayout {
    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let path = self.blob_path(&blob.digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == blob.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn put_blob(&self, blob: &Descriptor, source: BlobSource<'_>) -> Result<(), Error> {
        self.store(blob, source)
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.check_references(manifest, bytes)?;
        self.store(manifest, BlobSource::Bytes(bytes))
    }

    fn put_root(&self, root: &Descriptor, bytes: &[u8], name: Option<&str>) -> Result<(), Error> {
        name.map_or(Ok(()), check_layout_name)?;
        let _lock = self.lock()?;
        self.put_manifest(root, bytes)?;
        self.name_root(root, name)
    }
}
