//! Writes the files of a product, each once, and notes what it wrote.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{File, FileTimes, Permissions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use pixi_oci_layer::{Digest, DigestWriter, FileTree, Node, PathError, TreePath};
use pixi_oci_platform::{Links, open};

use crate::{Error, PKG_CACHE};

/// The time of everything that no package has a time for: 1980-01-01, the first that every file system can hold.
pub const CONSTANT_TIME: i64 = 315_532_800;

/// Real trees have some ten levels.
pub(crate) const MAX_DEPTH: usize = 256;

/// A product that is being written to a directory.
#[derive(Debug)]
pub struct Product {
    root: PathBuf,
    listed: Mutex<BTreeMap<TreePath, Listed>>,
}

/// What is at a path of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed {
    /// `mode` is `None` where the file system cannot tell.
    File {
        digest: Digest,
        mode: Option<u32>,
    },
    Symlink {
        target: String,
    },
}

impl Listed {
    /// Whether what is there is this, as far as the file system can tell.
    pub(crate) fn is(&self, there: &Self) -> bool {
        match (self, there) {
            (Self::File { digest, mode }, Self::File { digest: other, mode: found }) => {
                digest == other && (found.is_none() || mode == found)
            }
            _ => self == there,
        }
    }

    /// In which way what is there is another.
    pub(crate) fn difference(&self, there: &Self) -> &'static str {
        match (self, there) {
            (Self::File { digest, .. }, Self::File { digest: other, .. }) if digest == other => "it has another mode",
            _ => "it was changed",
        }
    }
}

impl Product {
    /// A product in a directory that is there and has nothing in it.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), listed: Mutex::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file. `mode` are permission bits.
    ///
    /// # Errors
    /// Something else is there already; the disk fails; `body` does.
    pub fn file(&self, path: &TreePath, mode: u32, mtime: Option<i64>, body: &mut dyn Read) -> Result<Digest, Error> {
        let at = self.place(path)?;
        let mut write = || -> io::Result<Digest> {
            let mut writer = DigestWriter::new(BufWriter::with_capacity(128 << 10, File::create_new(&at)?));
            io::copy(body, &mut writer)?;
            writer.flush()?;
            let (digest, _, file) = writer.finish();
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.set_times(FileTimes::new().set_modified(time(mtime)))?;
            Ok(digest)
        };
        let digest = write().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Twice { path: path.to_string() },
            _ => Error::io("write", &at)(error),
        })?;
        self.list(path, Listed::File { digest, mode: Some(mode) })?;
        Ok(digest)
    }

    /// Writes a file of these bytes, 0755 or 0644.
    pub fn bytes(&self, path: &TreePath, executable: bool, bytes: &[u8]) -> Result<Digest, Error> {
        self.file(path, plain(executable), None, &mut &*bytes)
    }

    pub fn symlink(&self, path: &TreePath, target: &str, mtime: Option<i64>) -> Result<(), Error> {
        // A line break would be two lines of the list.
        if target.chars().any(char::is_control) {
            let source = PathError::Control(target.into());
            return Err(Error::Path { name: target.into(), source });
        }
        let at = self.place(path)?;
        symlink(target, &at).map_err(Error::io("write", &at))?;
        set_link_time(&at, mtime).map_err(Error::io("set the time of", &at))?;
        self.list(path, Listed::Symlink { target: target.into() })
    }

    /// Gives a file of the product a second name.
    pub fn hard_link(&self, path: &TreePath, target: &TreePath) -> Result<(), Error> {
        let at = self.place(path)?;
        fs_err::hard_link(self.root.join(target.as_str()), &at).map_err(Error::io("write", &at))?;
        let same = self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        let missing = || Error::io("find the target of", &at)(io::Error::from(io::ErrorKind::NotFound));
        self.list(path, same.ok_or_else(missing)?)
    }

    /// Makes a directory that is there even if nothing is in it.
    pub fn directory(&self, path: &TreePath) -> Result<(), Error> {
        let at = self.root.join(path.as_str());
        fs_err::create_dir_all(&at).map_err(Error::io("make", &at))
    }

    /// Writes a tree, and says what its files are.
    pub fn tree(&self, tree: &FileTree) -> Result<BTreeMap<TreePath, Digest>, Error> {
        let mut digests = BTreeMap::new();
        for (path, node) in tree.iter() {
            match node {
                Node::Directory { .. } | Node::Inherited(_) => self.directory(path)?,
                Node::Symlink { target, mtime } => self.symlink(path, target, *mtime)?,
                Node::HardLink { target } => self.hard_link(path, target)?,
                Node::File(file) => {
                    let mut body: Box<dyn Read> = match file.content.path() {
                        Some(from) => Box::new(open(from, Links::Follow).map_err(Error::io("read", from))?),
                        None => {
                            let at = self.root.join(path.as_str());
                            Box::new(io::Cursor::new(file.content.to_vec().map_err(Error::io("read", at))?))
                        }
                    };
                    let mode = plain(file.mode.bits() & 0o100 != 0);
                    let digest = self.file(path, mode, file.mtime, &mut body)?;
                    digests.insert(path.clone(), digest);
                }
            }
        }
        Ok(digests)
    }

    /// Whether a file of that digest is at the path; another file there is an error.
    pub fn has(&self, path: &TreePath, digest: &Digest) -> Result<bool, Error> {
        match self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            None => Ok(false),
            Some(Listed::File { digest: there, .. }) if there == digest => Ok(true),
            Some(_) => Err(Error::Twice { path: path.to_string() }),
        }
    }

    pub(crate) fn listed(&self) -> BTreeMap<TreePath, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives all directories the constant time, of which only packages may have empty ones. The last thing to do.
    pub(crate) fn finish_directories(&self) -> Result<(), Error> {
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            let mut is_empty = !directory.starts_with(self.root.join(PKG_CACHE));
            for entry in fs_err::read_dir(&directory).map_err(Error::io("read", &directory))? {
                let entry = entry.map_err(Error::io("read", &directory))?;
                is_empty = false;
                if entry.file_type().map_err(Error::io("read", entry.path()))?.is_dir() {
                    directories.push(entry.path());
                }
            }
            if is_empty {
                let path = directory.strip_prefix(&self.root).unwrap_or(&directory).display().to_string();
                return Err(Error::Refused { path, reason: "it is an empty directory".into() });
            }
            let set = || -> io::Result<()> {
                let file = File::open(&directory)?;
                file.set_permissions(Permissions::from_mode(0o755))?;
                file.set_times(FileTimes::new().set_modified(time(None)))
            };
            set().map_err(Error::io("set the time of", &directory))?;
        }
        Ok(())
    }

    fn place(&self, path: &TreePath) -> Result<PathBuf, Error> {
        let at = self.root.join(path.as_str());
        if let Some(parent) = at.parent() {
            fs_err::create_dir_all(parent).map_err(Error::io("make", parent))?;
        }
        Ok(at)
    }

    /// A plain shell reads the lists, a line a path.
    fn list(&self, path: &TreePath, listed: Listed) -> Result<(), Error> {
        path.clone().printable().map_err(|source| Error::Path { name: path.to_string(), source })?;
        if path.components().count() > MAX_DEPTH {
            let reason = format!("its directories nest deeper than {MAX_DEPTH}");
            return Err(Error::Refused { path: path.to_string(), reason });
        }
        match self.listed.lock().unwrap_or_else(PoisonError::into_inner).entry(path.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(listed)),
            Entry::Occupied(_) => return Err(Error::Twice { path: path.to_string() }),
        }
        Ok(())
    }
}

/// The mode of what is not a package's: whoever gets a product can read it, and run what is in it.
pub(crate) fn plain(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

pub(crate) fn path(text: &str) -> Result<TreePath, Error> {
    TreePath::new(text).map_err(|source| Error::Path { name: text.into(), source })
}

pub(crate) fn time(seconds: Option<i64>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or(CONSTANT_TIME).max(0).unsigned_abs())
}

/// The time of a link itself, which the standard library cannot set.
pub(crate) fn set_link_time(path: &Path, seconds: Option<i64>) -> io::Result<()> {
    pixi_oci_platform::set_link_time(path, seconds.unwrap_or(CONSTANT_TIME))
}
