//! Files named by their SHA-256, each with a note beside it: what it was when it was last hashed.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open, touch};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::Root;

/// A note has a few lines.
const MAX_NOTE: u64 = 4096;

/// What tells whether a file was changed or replaced. Nobody can set the change time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    inode: u64,
}

/// A blob that is there and is what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBlob {
    /// Its length in bytes.
    pub size: u64,
    /// What was noted of it beside its hash.
    pub extra: String,
}

/// What is kept beside a blob. It has the time of the last use.
#[derive(Serialize, Deserialize)]
struct Note {
    identity: Identity,
    extra: String,
}

/// A directory of blobs: `DIR/ab/abcdef…EXTENSION`, and `….note`.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: Root,
    directory: PathBuf,
}

impl Identity {
    /// Of a regular file.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self::from(&metadata))
    }

    /// Whether they differ in the change time at most, which a new hard link changes.
    fn is_relinked(&self, other: &Self) -> bool {
        Self { ctime: other.ctime, ..self.clone() } == *other
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

impl Blobs {
    /// The blobs in a directory below the root, which need not exist.
    pub fn new(root: &Root, directory: impl AsRef<Path>) -> Self {
        Self { root: root.clone(), directory: root.join(directory) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the blob is, or would be.
    pub fn path(&self, hex: &str, extension: &str) -> PathBuf {
        sharded(&self.directory, hex, extension)
    }

    /// The blob at a path, if it is there. It is hashed by `hash`, which gives the SHA-256 and what else is to be noted, unless
    /// that was done since the file last changed. What is not what its name says is removed.
    pub fn find(
        &self,
        path: &Path,
        sha256: &str,
        hash: impl FnOnce(&mut dyn Read) -> io::Result<(String, String)>,
    ) -> io::Result<Option<KnownBlob>> {
        let mut file = match open(path, Links::Refuse) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(self.drop_damaged(path)),
            Err(error) => return Err(error),
        };
        let identity = Identity::from(&file.metadata()?);
        let size = identity.size;
        let must_check = self.root.must_check(path);
        if let Some(note) = self.note(path).filter(|note| note.identity == identity && !must_check) {
            // A cache that cannot be written to cannot be told.
            let _ = touch(&note_path(path));
            return Ok(Some(KnownBlob { size, extra: note.extra }));
        }
        let (actual, extra) = hash(&mut file)?;
        if actual != sha256 {
            return Ok(self.drop_damaged(path));
        }
        let _ = self.root.write(&note_path(path), &Note { identity, extra: extra.clone() });
        Ok(Some(KnownBlob { size, extra }))
    }

    /// Gives a file that was hashed while it was written its name. Without a note, it is hashed again when it is used.
    pub fn put(&self, file: NamedTempFile, path: &Path, extra: &str) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        file.persist(path).map_err(|error| error.error)?;
        self.remember(path, extra)
    }

    /// Notes that the file at `path` is what its name says.
    pub fn remember(&self, path: &Path, extra: &str) -> io::Result<()> {
        let identity = Identity::of(path)?;
        self.root.write(&note_path(path), &Note { identity, extra: extra.to_owned() })
    }

    /// After the file got or lost a hard link: that changed its change time, which would count as a change of the file.
    pub fn relinked(&self, path: &Path) {
        let (Some(note), Ok(now)) = (self.note(path), Identity::of(path)) else { return };
        if note.identity != now && note.identity.is_relinked(&now) {
            let _ = self.root.write(&note_path(path), &Note { identity: now, ..note });
        }
    }

    /// Removes a blob that is not what its name says.
    pub fn forget(&self, path: &Path) {
        self.drop_damaged(path);
    }

    fn drop_damaged(&self, path: &Path) -> Option<KnownBlob> {
        self.root.damaged(path);
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(note_path(path));
        None
    }

    /// A damaged note only costs the time to hash the blob.
    fn note(&self, path: &Path) -> Option<Note> {
        let path = note_path(path);
        self.root.read_quietly(&path, MAX_NOTE)
    }
}

/// `DIRECTORY/ab/abcdef…` and an ending, for the hexadecimal digits `abcdef…`: no directory gets too many entries.
pub fn sharded(directory: &Path, hex: &str, ending: &str) -> PathBuf {
    directory.join(hex.get(..2).unwrap_or_default()).join(format!("{hex}{ending}"))
}

/// The SHA-256 of a stream in hexadecimal digits, and nothing else to note.
pub fn sha256_of(file: &mut dyn Read) -> io::Result<(String, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(hash.finalize()), String::new())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn note_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".note");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;
    use crate::staged_file;

    fn put(blobs: &Blobs, content: &[u8]) -> (PathBuf, String) {
        let hex = sha256_of(&mut &*content).unwrap().0;
        let mut file = staged_file(&blobs.root, ".new-").unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        let path = blobs.path(&hex, "");
        blobs.put(file, &path, "extra").unwrap();
        (path, hex)
    }

    fn found(blobs: &Blobs, path: &Path, hex: &str) -> Option<KnownBlob> {
        blobs.find(path, hex, sha256_of).unwrap()
    }

    #[test]
    fn a_blob_is_hashed_again_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let blobs = Blobs::new(&root, "blobs");
        let (path, hex) = put(&blobs, b"content");
        let never = |_: &mut dyn Read| -> io::Result<(String, String)> { panic!("it is known") };
        let known = Some(KnownBlob { size: 7, extra: "extra".into() });
        assert_eq!(blobs.find(&path, &hex, never).unwrap(), known);
        // The change time tells, though everything else is as it was.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, b"c0ntent").unwrap();
        File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        assert_eq!(found(&blobs, &path, &hex), None);
        assert!(!path.exists());
        assert_eq!(root.take_damaged(), std::slice::from_ref(&path));
        // Another file with the same content is good.
        fs::write(&path, b"content").unwrap();
        assert_eq!(found(&blobs, &path, &hex), Some(KnownBlob { size: 7, extra: String::new() }));
        fs::write(note_path(&path), "damaged").unwrap();
        assert!(found(&blobs, &path, &hex).is_some());
        assert_eq!(root.take_damaged(), [] as [&Path; 0]);
    }

    #[test]
    fn a_hard_link_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(&Root::new(directory.path()), "blobs");
        let (path, hex) = put(&blobs, b"content");
        fs::hard_link(&path, directory.path().join("link")).unwrap();
        blobs.relinked(&path);
        let never = |_: &mut dyn Read| -> io::Result<(String, String)> { panic!("it is known") };
        assert!(blobs.find(&path, &hex, never).unwrap().is_some());
    }

    #[test]
    fn everything_can_be_checked() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let (path, hex) = put(&Blobs::new(&root, "blobs"), b"content");
        fs::write(&path, b"c0ntent").unwrap();
        // As damage below the file system would look.
        Blobs::new(&root, "blobs").remember(&path, "").unwrap();
        assert!(found(&Blobs::new(&root, "blobs"), &path, &hex).is_some());
        assert_eq!(found(&Blobs::new(&root.check_all(true), "blobs"), &path, &hex), None);
    }
}
