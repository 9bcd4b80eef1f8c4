//! An archive as it is, entry by entry, for package caches: what a cache has of a package is the unpacked archive.
//!
//! The same strict readers as everywhere in this crate: whoever writes the entries to disk one after another makes the tree
//! that other programs see in the archive, or gets an error.

use std::{ops::ControlFlow, path::Path};

use pixi_oci_platform::escape;

use crate::{
    archive::{Archive, Entry, Part},
    error::Error,
};

/// Shows all entries of a conda package to `visit`, in the order of the archive. `name` is its `NAME-VERSION-BUILD`, for errors. An error of `visit`
/// ends the walk; it comes out as the inner result.
///
/// Entries whose names are not UTF-8 are left out: no list of paths can name them.
pub fn unpack<E>(
    archive: &Path,
    name: &str,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let archive = Archive::open_named(archive, escape(name))?;
    let mut visited = Ok(());
    archive.walk(Part::All, &mut |entry| {
        // What is left of a body is skipped by the walk, and damage in it is found there.
        visited = visit(entry);
        Ok(if visited.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(visited)
}
