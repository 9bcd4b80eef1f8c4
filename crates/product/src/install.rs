//! Writes an environment to a prefix on this machine: the same trees that become layers of an image, as files.

use std::{
    fs::{File, FileTimes, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use pixi_oci_layer::{DirectoryAttributes, FileTree, Node, TreePath};

use crate::{
    Error, Staging,
    writer::{set_link_time, time},
};

/// What an environment has, and no other directory is likely to.
const MARK: &str = "conda-meta/history";

/// A prefix that is being written beside its place.
#[derive(Debug)]
pub struct NewPrefix {
    staging: Staging,
    prefix: TreePath,
    constant: i64,
}

impl NewPrefix {
    /// Prepares the prefix at `to`, whose files trees have below `prefix`. `constant` is the time of files that no package
    /// has a time for. An environment that is there is replaced.
    ///
    /// # Errors
    /// Something else is there; the directory above cannot be written to.
    pub fn create(to: &Path, prefix: &TreePath, constant: i64) -> Result<Self, Error> {
        let is_empty = fs_err::read_dir(to).is_ok_and(|mut entries| entries.next().is_none());
        if fs_err::symlink_metadata(to).is_ok() && !is_empty && !to.join(MARK).is_file() {
            return Err(Error::InTheWay { path: to.into() });
        }
        Ok(Self { staging: Staging::beside(to)?, prefix: prefix.clone(), constant })
    }

    pub fn scratch(&self) -> &Path {
        self.staging.scratch()
    }

    /// Writes a tree. What is not below the prefix is none of an environment's files, and refused.
    pub fn add(&self, tree: &FileTree) -> Result<(), Error> {
        for (path, node) in tree.iter() {
            let at = self.place(path)?;
            if let Some(parent) = at.parent() {
                fs_err::create_dir_all(parent).map_err(Error::io("make", parent))?;
            }
            let written = match node {
                Node::Directory { mode } | Node::Inherited(DirectoryAttributes { mode, .. }) => {
                    fs_err::create_dir_all(&at)
                        .and_then(|()| fs_err::set_permissions(&at, Permissions::from_mode(mode.bits())))
                }
                Node::Symlink { target, mtime } => {
                    symlink(target, &at).and_then(|()| set_link_time(&at, Some(mtime.unwrap_or(self.constant))))
                }
                Node::HardLink { target } => fs_err::hard_link(self.place(target)?, &at),
                Node::File(file) => self.write(&at, file),
            };
            written.map_err(Error::io("write", &at))?;
        }
        Ok(())
    }

    /// Puts the prefix to its place.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let new = self.staging.path();
        fs_err::set_permissions(new, Permissions::from_mode(0o755)).map_err(Error::io("write", new))?;
        self.staging.replace()
    }

    fn place(&self, path: &TreePath) -> Result<PathBuf, Error> {
        let below = path.as_str().strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let outside =
            || Error::Path { name: path.to_string(), source: pixi_oci_layer::PathError::Dots(path.to_string()) };
        Ok(self.staging.path().join(below.ok_or_else(outside)?))
    }

    fn write(&self, at: &Path, file: &pixi_oci_layer::File) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(128 << 10, File::create_new(at)?);
        file.content.copy_to(&mut writer)?;
        writer.flush()?;
        let written = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        written.set_permissions(Permissions::from_mode(file.mode.bits()))?;
        written.set_times(FileTimes::new().set_modified(time(Some(file.mtime.unwrap_or(self.constant)))))
    }
}
