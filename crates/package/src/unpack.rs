//! An archive as it is, entry by entry, for package caches: what a cache has of a package is the unpacked archive.
//!
//! The same strict readers as everywhere in this crate: whoever writes the entries to disk one after another makes the tree
//! that other programs see in the archive, or gets an error.

use std::{io::Read, ops::ControlFlow, path::Path};

use pixi_oci_layer::TreePath;
use pixi_oci_platform::escape;

use crate::{
    archive::{Archive, Kind, Part},
    error::Error,
};

/// One entry of an archive.
pub struct Unpacked<'a> {
    /// Where it is in the package.
    pub path: TreePath,
    /// What it is.
    pub kind: UnpackedKind<'a>,
    /// Permission bits, those of the archive.
    pub mode: u32,
    /// Seconds since 1970, not before 1980.
    pub mtime: i64,
}

/// What an entry is.
pub enum UnpackedKind<'a> {
    /// A file and its content.
    File(&'a mut dyn Read),
    /// A directory.
    Directory,
    /// With its target, verbatim.
    Symlink(String),
    /// To an entry that came before.
    HardLink(TreePath),
}

/// Shows all entries of a conda package to `visit`, in the order of the archive. `name` is its `NAME-VERSION-BUILD`, for errors. An error of `visit`
/// ends the walk; it comes out as the inner result.
///
/// Entries whose names are not UTF-8 are left out: no list of paths can name them.
///
/// # Errors
/// The archive cannot be read, or is refused.
pub fn unpack<E>(
    archive: &Path,
    name: &str,
    visit: &mut dyn FnMut(Unpacked<'_>) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let archive = Archive::open_named(archive, escape(name))?;
    let mut failed = None;
    archive.walk(Part::All, &mut |entry| {
        // What is left of a body is skipped by the walk, and damage in it is found there.
        let kind = match entry.kind {
            Kind::File => UnpackedKind::File(entry.body),
            Kind::Directory => UnpackedKind::Directory,
            Kind::Symlink(target) => UnpackedKind::Symlink(target),
            Kind::HardLink(target) => UnpackedKind::HardLink(target),
        };
        match visit(Unpacked { path: entry.path, kind, mode: entry.mode, mtime: entry.mtime }) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) => {
                failed = Some(error);
                Ok(ControlFlow::Break(()))
            }
        }
    })?;
    Ok(failed.map_or(Ok(()), Err))
}
