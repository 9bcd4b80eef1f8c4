//! Packages in a product: entries of rattler's package cache, and the archives they were made of.
//!
//! The format is that of `rattler_cache` (`package_cache/mod.rs`, `cache_lock.rs`): `pkgs/NAME-VERSION-BUILD/` is the unpacked
//! archive; beside it `NAME-VERSION-BUILD.lock` holds a revision (big-endian, 64 bits) and the archive's sha256; `.cache.lock`
//! is empty. A cache entry is found by these alone, so an installer that has the same lock file asks nobody. rattler's keys do
//! not have the platform in them, which is why each has a cache of its own.

use std::path::Path;

use pixi_oci_layer::{Digest, TreePath};
use pixi_oci_package::{Entry, Kind, unpack};
use pixi_oci_platform::{Links, open};

use crate::{ARCHIVES, Error, PKG_CACHE, PKGS, Product, WHEELS, writer::path};

/// The revision after the first filling: the entry was announced, and then it was there.
const REVISION: u64 = 2;

/// Begins the cache of a platform, once, whether packages come or not.
pub fn write_cache(product: &Product, platform: &str) -> Result<(), Error> {
    product.bytes(&global_lock(platform)?, false, b"").map(drop)
}

/// Adds a conda package to the cache of a platform, unless it is there. Gives the path of its archive in the product.
///
/// `key` is `NAME-VERSION-BUILD`, the name of its entry in rattler's cache; `file_name` the archive's, as its channel has it.
pub fn write_conda_package(
    product: &Product,
    platform: &str,
    key: &str,
    file_name: &str,
    archive: &Path,
    digest: Digest,
) -> Result<TreePath, Error> {
    let to = path(&format!("{PKG_CACHE}/{platform}/{ARCHIVES}/{file_name}"))?;
    if product.has(&to, &digest)? {
        return Ok(to);
    }
    copy_archive(product, &to, archive, digest)?;
    let entry = entry_path(platform, key)?;
    product.directory(&entry)?;
    unpack(archive, key, &mut |item| write_entry(product, &entry, item))??;
    product.bytes(&path(&format!("{entry}.lock"))?, false, &lock_bytes(&digest))?;
    Ok(to)
}

pub(crate) fn entry_path(platform: &str, key: &str) -> Result<TreePath, Error> {
    // One component: a key with a slash would be somewhere else.
    path(&format!("{PKG_CACHE}/{platform}/{PKGS}/{}", key.replace('/', "_")))
}

pub(crate) fn global_lock(platform: &str) -> Result<TreePath, Error> {
    path(&format!("{PKG_CACHE}/{platform}/{PKGS}/.cache.lock"))
}

/// Adds a wheel to a platform, unless it is there. Gives its path in the product.
pub fn write_wheel(
    product: &Product,
    platform: &str,
    file_name: &str,
    wheel: &Path,
    digest: Digest,
) -> Result<TreePath, Error> {
    let place = path(&format!("{PKG_CACHE}/{platform}/{WHEELS}/{file_name}"))?;
    if !product.has(&place, &digest)? {
        copy_archive(product, &place, wheel, digest)?;
    }
    Ok(place)
}

/// What `NAME-VERSION-BUILD.lock` holds.
pub(crate) fn lock_bytes(digest: &Digest) -> Vec<u8> {
    REVISION.to_be_bytes().into_iter().chain(*digest.as_bytes()).collect()
}

fn copy_archive(product: &Product, to: &TreePath, from: &Path, expected: Digest) -> Result<(), Error> {
    let mut file = open(from, Links::Follow).map_err(Error::io("read", from))?;
    let actual = product.file(to, 0o644, None, &mut file)?;
    if actual != expected {
        return Err(Error::Changed { path: from.into(), actual, expected });
    }
    Ok(())
}

/// The mode of a package's file, as rattler has it, but that whoever gets a product can read it, and run what is in it.
pub(crate) fn readable(mode: u32) -> u32 {
    mode | 0o444 | if mode & 0o100 != 0 { 0o111 } else { 0 }
}

fn write_entry(product: &Product, directory: &TreePath, entry: Entry<'_>) -> Result<(), Error> {
    let at = path(&format!("{directory}/{}", entry.path))?;
    match entry.kind {
        Kind::Directory => product.directory(&at),
        Kind::Symlink(target) => product.symlink(&at, &target, Some(entry.mtime)),
        Kind::HardLink(target) => product.hard_link(&at, &path(&format!("{directory}/{target}"))?),
        Kind::File => product.file(&at, readable(entry.mode), Some(entry.mtime), entry.body).map(drop),
    }
}
