//! An archive as it is, entry by entry, for package caches: what a cache has of a package is the unpacked archive.
//!
//! The same strict readers as everywhere in this crate: whoever writes the entries to disk one after another makes the tree
//! that other programs see in the archive, or gets an error.

use std::{
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
};

use pixi_oci_layer::TreePath;

use crate::{
    Error,
    archive::{Archive, Kind, Part},
    error::escape,
    wheel::WheelZip,
};

/// One entry of an archive.
pub struct Unpacked<'a> {
    /// Where it is in the package.
    pub path: TreePath,
    /// What it is.
    pub kind: UnpackedKind<'a>,
    /// Permission bits: those of the archive for conda packages; 0755 or 0644 for wheels.
    pub mode: u32,
    /// Seconds since 1970, not before 1980; none for wheels, whose zip has times without a zone.
    pub mtime: Option<i64>,
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
/// Entries in `info/` whose names are not UTF-8 are left out: nothing that reads package caches knows them.
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
        match visit(Unpacked { path: entry.path, kind, mode: entry.mode, mtime: Some(entry.mtime) }) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) => {
                failed = Some(error);
                Ok(ControlFlow::Break(()))
            }
        }
    })?;
    Ok(failed.map_or(Ok(()), Err))
}

/// The same for the wheel of that file name.
///
/// # Errors
/// The wheel cannot be read, or is refused.
pub fn unpack_wheel<E>(
    archive: &Path,
    file_name: &str,
    visit: &mut dyn FnMut(Unpacked<'_>) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let zip = WheelZip::open(archive, file_name)?;
    for member in zip.members()? {
        let mode = if member.executable || member.is_directory { 0o755 } else { 0o644 };
        let path = member.path.clone();
        if member.is_directory {
            let entry = Unpacked { path, kind: UnpackedKind::Directory, mode, mtime: None };
            if let Err(error) = visit(entry) {
                return Ok(Err(error));
            }
            continue;
        }
        let mut reader = zip.reader(&member);
        let entry = Unpacked { path, kind: UnpackedKind::File(&mut reader), mode, mtime: None };
        if let Err(error) = visit(entry) {
            return Ok(Err(error));
        }
        // What `visit` left, and the member's checksum.
        let rest = io::copy(&mut reader, &mut io::sink()).and_then(|_| reader.finish());
        rest.map_err(|error| zip.broken(&member, error))?;
    }
    Ok(Ok(()))
}
