//! Takes a directory out of an image, without running it: what a container would see there, links and whiteouts applied.
//!
//! Where each file's content is follows from the same tree that answers [`BaseFiles`](super::BaseFiles): every file node
//! knows the entry of the layer that it is. Files are written below a fresh directory, links last, so that nothing is
//! ever written through a link.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::Path,
    sync::Arc,
};

use oci_read::{tar, tree::Node};
use pixi_oci_platform::{Links, open};

use super::{
    BaseError, BaseImage, Problem,
    listing::{Listing, open_tar},
    tree::{self, NodeKind, Origin},
};

/// A project with more than this is none.
const MAX_FILES: usize = 1_000_000;
const MAX_BYTES: u64 = 64 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenOut {
    /// Regular files.
    pub files: usize,
    /// Symbolic links, as they are in the image.
    pub links: usize,
    /// The length of all files.
    pub bytes: u64,
}

/// Writes what is below the absolute path `directory` of an image into the empty directory `to`. Files are 0644, or 0755
/// where their owner may execute them; devices, owners and times are left behind.
///
/// # Errors
///
/// There is no such directory in the image; a layer cannot be read; the disk fails. `to` then has a part of it.
pub fn take_out(image: &BaseImage, directory: &str, to: &Path) -> Result<TakenOut, BaseError> {
    taken(image, directory, to).map_err(|problem| problem.of(&image.reference))
}

fn taken(image: &BaseImage, directory: &str, to: &Path) -> Result<TakenOut, Problem> {
    let budget = Arc::default();
    let tree = tree::stack(image, |layer| Listing::read(&layer.path, &budget))?;
    let root = tree.walk(directory.as_bytes(), true);
    let Some(root) = root.filter(|root| tree.node(*root).is_directory()) else {
        return Err(Problem::NoDirectory { path: directory.to_owned() });
    };
    let write = |path: &Path| crate::Error::io("write", path.to_owned());
    let (mut wanted, mut links): (BTreeMap<Origin, Vec<String>>, Vec<(String, String)>) = Default::default();
    let mut files = 0;
    for (path, id) in tree.below(root) {
        let path = String::from_utf8_lossy(&path).into_owned();
        match tree.node(id) {
            // Parents come before what is in them.
            Node::Directory(_) => fs::create_dir(to.join(&path)).map_err(write(&to.join(&path)))?,
            Node::Symlink(_, target) => links.push((path, String::from_utf8_lossy(target).into_owned())),
            Node::File(known) => {
                let NodeKind::File(file) = known else { continue };
                files += 1;
                // A hard link to nothing has no content.
                let origin = file.origin.ok_or_else(|| Problem::NoContent { path: path.clone() })?;
                wanted.entry(origin).or_default().push(path);
            }
        }
        if files + links.len() > MAX_FILES {
            return Err(Problem::TooMuch { path: directory.to_owned() });
        }
    }
    let mut left = MAX_BYTES;
    for (number, layer) in (0..).zip(&image.layers) {
        let of_layer: BTreeMap<u32, &Vec<String>> = wanted
            .iter()
            .filter(|(origin, _)| origin.layer == number)
            .map(|(origin, paths)| (origin.entry, paths))
            .collect();
        if of_layer.is_empty() {
            continue;
        }
        let bad = |source| Problem::Layer { layer: layer.entry.descriptor.digest, source };
        let mut reader = tar::Reader::new(BufReader::with_capacity(
            64 << 10,
            open_tar(&layer.path, &Arc::default()).map_err(bad)?.1,
        ));
        let mut entry_number = 0;
        while let Some(entry) = reader.next_entry().map_err(bad)? {
            let paths = of_layer.get(&entry_number);
            entry_number += 1;
            let Some((first, others)) = paths.and_then(|paths| paths.split_first()) else { continue };
            let all = entry.size.saturating_mul(1 + others.len() as u64);
            left = left.checked_sub(all).ok_or_else(|| Problem::TooMuch { path: directory.to_owned() })?;
            let mode = if entry.mode & 0o100 == 0 { 0o644 } else { 0o755 };
            let path = to.join(first);
            let mut file = create(&path, mode).map_err(write(&path))?;
            let copied = io::copy(&mut reader.content(), &mut file).map_err(bad)?;
            if copied != entry.size {
                return Err(bad(io::ErrorKind::UnexpectedEof.into()));
            }
            for other in others {
                let other = to.join(other);
                let copy = || io::copy(&mut open(&path, Links::Refuse)?, &mut create(&other, mode)?);
                copy().map_err(write(&other))?;
            }
        }
    }
    for (path, target) in &links {
        symlink(target, to.join(path)).map_err(write(&to.join(path)))?;
    }
    Ok(TakenOut { files, links: links.len(), bytes: MAX_BYTES - left })
}

/// A new file: whatever is there already is not written to.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}
