//! Whether the files of a working tree are those of its commit.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::sha256_of;
use pixi_oci_platform::{Links, open};

use crate::{Git, GitError};

/// How the tracked files of a working tree are to its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkTree {
    /// They are the same.
    Clean,
    /// One of them, at least, is not.
    Dirty {
        /// A file that differs.
        path: PathBuf,
    },
    /// Only a program of the repository (a filter, such as git-crypt) could tell.
    Unknown {
        /// A file that it would have to be asked about.
        path: PathBuf,
    },
}

/// The most that a pointer of Git LFS is long.
const MAX_POINTER: usize = 1024;

impl WorkTree {
    /// Whether the tree may be given the name of its commit.
    pub fn is_clean(&self) -> bool {
        *self == Self::Clean
    }
}

impl Git {
    /// Why the working tree is not that of its commit, or may not be.
    pub fn unclean(&self) -> Option<String> {
        match self.tree() {
            Ok(WorkTree::Clean) => None,
            Ok(WorkTree::Dirty { path }) => Some(format!("{} is not as it was committed", path.display())),
            Ok(WorkTree::Unknown { path }) => Some(format!(
                "only a filter of the repository, which is not run, knows whether {} is as it was committed",
                path.display()
            )),
            Err(error) => Some(format!("it cannot be told whether the files are those of the commit: {error}")),
        }
    }

    /// Compares the tracked files, and those of submodules, with the commit. Files that git does not track do not count.
    pub fn tree(&self) -> Result<WorkTree, GitError> {
        if self.blind {
            return Ok(WorkTree::Unknown { path: self.directory().to_owned() });
        }
        let root = self.output(&["rev-parse", "--show-toplevel"])?;
        let root = path_of(root.strip_suffix(b"\n").unwrap_or(&root));
        let top = self.in_directory(&root);
        // A look into a submodule would be by a git of its own, with the configuration of the submodule.
        let status =
            ["status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules=dirty"];
        let status = top.output(&status)?;
        let mut unknown = None;
        for entry in status.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // `1 XY SUB MH MI MW HH HI PATH`: of index and working tree, modes and objects. Everything else is a conflict.
            let fields: Vec<&[u8]> = entry.splitn(9, |byte| *byte == b' ').collect();
            let [b"1", b".M", _, _, before, now, _, object, path] = fields[..] else {
                return Ok(WorkTree::Dirty { path: path_of(fields.last().copied().unwrap_or(entry)) });
            };
            let (path, object) = (path_of(path), String::from_utf8_lossy(object));
            if before != now {
                return Ok(WorkTree::Dirty { path });
            }
            match top.filtered(&path, &object)? {
                Some(true) => {}
                Some(false) => return Ok(WorkTree::Dirty { path }),
                None => unknown = Some(path),
            }
        }
        for submodule in top.submodules()? {
            match Git::at(&root.join(&submodule)).tree()? {
                WorkTree::Clean => {}
                WorkTree::Dirty { path } => return Ok(WorkTree::Dirty { path: submodule.join(path) }),
                WorkTree::Unknown { path } => unknown = Some(submodule.join(path)),
            }
        }
        Ok(unknown.map_or(WorkTree::Clean, |path| WorkTree::Unknown { path }))
    }

    /// Whether a file that differs from its object is what a filter made of it; `None` where only the filter knows.
    fn filtered(&self, path: &Path, object: &str) -> Result<Option<bool>, GitError> {
        let Some(text) = path.to_str() else { return Ok(Some(false)) };
        let attribute = self.output(&["check-attr", "-z", "filter", "--", text])?;
        let value = attribute.split(|byte| *byte == 0).nth(2).unwrap_or_default();
        if matches!(value, b"" | b"unspecified" | b"unset") {
            return Ok(Some(false));
        }
        let pointer = self.output(&["cat-file", "blob", object])?;
        let Some((sha256, size)) = lfs_pointer(&pointer) else { return Ok(None) };
        Ok(Some(hash(&self.directory().join(path)).is_some_and(|found| found == (sha256, size))))
    }

    fn submodules(&self) -> Result<Vec<PathBuf>, GitError> {
        let list = self.output(&["ls-files", "--stage", "-z"])?;
        let entries = list.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"160000 "));
        let paths = entries.filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1));
        let paths = paths.map(path_of);
        // One that is not there is not checked out.
        Ok(paths.filter(|path| fs_err::symlink_metadata(self.directory().join(path).join(".git")).is_ok()).collect())
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Hash and length of the file that a pointer of Git LFS stands for
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
fn lfs_pointer(bytes: &[u8]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_POINTER)?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let version = value("version")?;
    (version == "https://git-lfs.github.com/spec/v1").then_some(())?;
    Some((value("oid")?.strip_prefix("sha256:")?.to_owned(), value("size")?.parse().ok()?))
}

/// Hash and length of a file, which is not followed if it is a link.
fn hash(path: &Path) -> Option<(String, u64)> {
    let mut file = open(path, Links::Refuse).ok()?;
    let size = file.metadata().ok()?.len();
    Some((sha256_of(&mut file).ok()?.0, size))
}
