//! The tree of a base image: which entry of which layer each path is.

use std::io;

use oci_read::tree::{self, Node, TreeError};

use super::{
    BaseImage, BaseLayer, Problem,
    glibc::Glibc,
    listing::{Action, Attributes, Item, Listing},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Directory(Option<Attributes>),
    File(FileNode),
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileNode {
    pub glibc: Option<Glibc>,
    /// Where its content is; `None` for a hard link to nothing.
    pub origin: Option<Origin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The layer's number, from the lowest.
    pub layer: u32,
    pub entry: u32,
}

pub(crate) type Tree = tree::Tree<NodeKind>;

pub(crate) fn empty() -> Tree {
    Tree::new(NodeKind::Directory(None))
}

/// All layers of an image on top of one another, by what `listing` says is in them.
pub(crate) fn stack(image: &BaseImage, listing: impl Fn(&BaseLayer) -> io::Result<Listing>) -> Result<Tree, Problem> {
    let mut tree = empty();
    for (number, layer) in (0..).zip(&image.layers) {
        let bad = |source| Problem::Layer { layer: layer.entry.descriptor.digest, source };
        let listing = listing(layer).map_err(bad)?;
        apply(&mut tree, &listing.items, number).map_err(|error| bad(io::Error::other(error)))?;
    }
    Ok(tree)
}

/// Puts a layer on top, or says why that cannot be done. `layer` is its number, from the lowest.
pub(crate) fn apply(tree: &mut Tree, items: &[Item], layer: u32) -> Result<(), TreeError> {
    // Whiteouts hide what is in lower layers, never what is in their own, wherever they stand in it.
    for item in items {
        match item.action {
            Action::Remove => tree.remove(item.path.as_bytes())?,
            Action::Empty => tree.empty(item.path.as_bytes())?,
            _ => {}
        }
    }
    items.iter().filter(|item| !item.path.is_empty()).try_for_each(|item| add(tree, item, layer))
}

fn add(tree: &mut Tree, item: &Item, layer: u32) -> Result<(), TreeError> {
    let node = match &item.action {
        Action::Remove | Action::Empty => return Ok(()),
        Action::Directory(attributes) => Node::Directory(NodeKind::Directory(*attributes)),
        Action::File(glibc) => {
            let origin = Some(Origin { layer, entry: item.entry });
            Node::File(NodeKind::File(FileNode { glibc: *glibc, origin }))
        }
        Action::Symlink(target) => Node::Symlink(NodeKind::Link, target.as_bytes().into()),
        // A link to something that is not there makes a runtime fail; here it is a file of which nothing is known.
        Action::HardLink(target) => {
            let found = tree.find(target.as_bytes(), false)?.map(|id| tree.node(id));
            let nothing = || Node::File(NodeKind::File(FileNode::default()));
            found.filter(|node| !node.is_directory()).cloned().unwrap_or_else(nothing)
        }
    };
    let parent = tree.parent(item.path.as_bytes(), &NodeKind::Directory(None))?;
    tree.put(parent.id, tree::split(item.path.as_bytes()).1, node).map(drop)
}
