//! A source archive as a file tree, by the strict rules of package archives.
//!
//! What is refused in a package archive is refused here too. Links must stay inside: whatever unpacks the tree can write
//! it anywhere without leaving that place.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use pixi_oci_layer::{Content, ContentStore, File, FileTree, Mode, Node, TreePath};
use pixi_oci_platform::escape;

use crate::{
    archive::{Archive, Entry, Kind, Part},
    error::{Error, Refusal},
};

/// The files of a source archive (`.tar.gz`, `.tar.bz2`), without the directory that everything in it is in. `file_name`
/// is for errors. Contents go to `store`.
pub fn source_tree(archive: &Path, file_name: &str, store: &mut ContentStore) -> Result<FileTree, Error> {
    let archive = Archive::open_source(archive, escape(file_name))?;
    let mut nodes: BTreeMap<TreePath, Node> = BTreeMap::new();
    archive.walk(Part::All, &mut |entry| {
        let path = entry.path.clone();
        if let Some(node) = node(&archive, entry, &nodes, store)? {
            nodes.insert(path, node);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    without_top(&archive, nodes)
}

fn node(
    archive: &Archive,
    entry: Entry<'_>,
    nodes: &BTreeMap<TreePath, Node>,
    store: &mut ContentStore,
) -> Result<Option<Node>, Error> {
    let path = entry.path.clone();
    let refuse = |refusal| Error::path(&archive.name, path.as_str(), refusal);
    Ok(Some(match &entry.kind {
        Kind::Directory => return Ok(None),
        Kind::File => {
            let mode = Mode::file(entry.executable());
            Node::File(File { content: read(archive, entry, store)?, mode, mtime: None })
        }
        Kind::Symlink(target) => {
            let depth = path.components().count() - 1;
            if !stays_inside(target, depth) {
                return Err(refuse(Refusal::LinkTarget));
            }
            Node::Symlink { target: target.clone(), mtime: None }
        }
        Kind::HardLink(target) => match nodes.get(target) {
            Some(Node::File(file)) => Node::File(file.clone()),
            _ => return Err(refuse(Refusal::HardLink(target.to_string()))),
        },
    }))
}

fn read(archive: &Archive, entry: Entry<'_>, store: &mut ContentStore) -> Result<Content, Error> {
    store.put(entry.body, entry.size).map_err(|error| archive.broken(error))
}

/// Whether a relative link from a place with so many directories above it, the first of which is the archive's own, leads
/// to a place below that one.
fn stays_inside(target: &str, depth: usize) -> bool {
    let mut depth = depth;
    for part in target.split('/') {
        match part {
            "" if target.starts_with('/') => return false,
            "" | "." => {}
            ".." if depth <= 1 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

fn without_top(archive: &Archive, nodes: BTreeMap<TreePath, Node>) -> Result<FileTree, Error> {
    let mut tree = FileTree::new();
    let mut top: Option<String> = None;
    for (path, node) in nodes {
        let Some((first, rest)) = path.as_str().split_once('/') else {
            // Such as the `pax_global_header` of git archives that were unpacked and packed again.
            let reason = format!("{path:?} is not in the one directory that a source archive has");
            return Err(Error::archive(&archive.name, reason));
        };
        if top.get_or_insert_with(|| first.to_owned()) != first {
            return Err(Error::archive(&archive.name, "it has several directories at its top"));
        }
        let rest = TreePath::new(rest).map_err(|error| Error::archive(&archive.name, error))?;
        tree.insert(rest, node).map_err(|error| Error::archive(&archive.name, error))?;
    }
    if tree.is_empty() {
        return Err(Error::archive(&archive.name, "it has no files"));
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use pixi_oci_layer::MemoryBudget;

    use super::*;

    type Entries<'a> = &'a [(&'a str, tar::EntryType, &'a str)];
    const FILE: tar::EntryType = tar::EntryType::Regular;
    const LINK: tar::EntryType = tar::EntryType::Symlink;
    const HARD: tar::EntryType = tar::EntryType::Link;

    fn tree(entries: Entries<'_>) -> Result<FileTree, Error> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if *kind == FILE {
                header.set_size(text.len() as u64);
            } else {
                header.set_size(0);
                header.as_mut_bytes()[157..157 + text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, if *kind == FILE { text.as_bytes() } else { b"" }).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-1.tar.gz");
        let mut gzip =
            flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
        gzip.write_all(&bytes).unwrap();
        gzip.finish().unwrap();
        source_tree(&path, "a-1.tar.gz", &mut ContentStore::new(&MemoryBudget::new(1 << 20), directory.path()))
    }

    #[test]
    fn the_top_directory_is_gone() {
        let tree = tree(&[
            ("a-1/x.py", FILE, "x"),
            ("a-1/s/y", LINK, "../x.py"),
            ("a-1/w", LINK, "s/../x.py"),
            ("a-1/z", HARD, "a-1/x.py"),
        ])
        .unwrap();
        let paths: Vec<&str> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["s/y", "w", "x.py", "z"]);
    }

    #[test]
    fn what_leaves_its_place_is_refused() {
        for entries in [
            &[("../x", FILE, "")][..],
            &[("/a-1/x", FILE, "")],
            &[("a-1/x", LINK, "/etc/passwd")],
            &[("a-1/x", LINK, "../x")],
            &[("a-1/d/x", LINK, "../../b")],
            &[("a-1/x", HARD, "etc/passwd")],
            &[("a-1/x", tar::EntryType::Fifo, "")],
            &[("a-1/x", FILE, ""), ("a-1/x", FILE, "2")],
            &[("a-1/x", FILE, ""), ("b/x", FILE, "")],
            &[("x", FILE, "")],
            &[],
        ] {
            let error = tree(entries).expect_err(&format!("{entries:?}")).to_string();
            assert!(error.contains("a-1.tar.gz"), "{error}");
        }
    }
}
