//! The tree that a container sees: layers on top of one another, then what Apptainer needs.

use oci_read::{
    tar::Kind,
    tree::{self, Node, Tree, Whiteout},
};

use crate::{
    Error,
    apptainer::{Added, AddedContent},
    error::text,
    listing::{LayerItem, LayerPaths},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub mode: u16,
    pub time: u32,
    pub origin: ContentOrigin,
}

/// Where the content of a file is. Names with one origin are hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ContentOrigin {
    /// An entry of a layer, both by number.
    Layer(u32, u32),
    /// What is added for Apptainer, by number.
    Own(u32),
    /// A device or pipe, which is left out.
    Nothing,
}

/// Puts the layers on top of one another, and on them what is ours.
pub(crate) fn stack(layers: &[LayerPaths], own: &[Added], time: u32) -> Result<Tree<Known>, Error> {
    let implied = Known { mode: 0o755, time, origin: ContentOrigin::Nothing };
    let mut tree = Tree::new(implied);
    for (number, layer) in (0..).zip(layers) {
        // Whiteouts hide what is in lower layers, never what is in their own, wherever they stand in it.
        for whiteout in layer.items.iter().filter_map(|item| Whiteout::of(&item.path)?) {
            match whiteout {
                Whiteout::Remove(path) => tree.remove(&path)?,
                Whiteout::Empty(path) => tree.empty(&path)?,
            }
        }
        for (entry, item) in (0..).zip(&layer.items) {
            if !item.path.is_empty() && Whiteout::of(&item.path).is_none() {
                put(&mut tree, item, ContentOrigin::Layer(number, entry), &implied)?;
            }
        }
    }
    for (number, added) in (0..).zip(own) {
        add(&mut tree, added, number, &implied)?;
    }
    Ok(tree)
}

/// Devices and pipes.
pub(crate) fn is_left_out(node: &Node<Known>) -> bool {
    matches!(node, Node::File(Known { origin: ContentOrigin::Nothing, .. }))
}

fn put(tree: &mut Tree<Known>, item: &LayerItem, origin: ContentOrigin, implied: &Known) -> Result<(), Error> {
    let known = Known { mode: item.mode, time: item.time, origin };
    let node = match &item.kind {
        Kind::Directory => Node::Directory(known),
        Kind::File => Node::File(known),
        Kind::Symlink(target) => Node::Symlink(known, target.clone()),
        Kind::Special(_) => Node::File(Known { origin: ContentOrigin::Nothing, ..known }),
        Kind::HardLink(target) => {
            let found = tree.find(target, false)?.map(|id| tree.node(id)).filter(|node| !node.is_directory());
            found.cloned().ok_or_else(|| Error::Link { path: text(&item.path), target: text(target) })?
        }
    };
    put_at(tree, &item.path, node, implied)
}

fn put_at(tree: &mut Tree<Known>, path: &[u8], node: Node<Known>, implied: &Known) -> Result<(), Error> {
    let parent = tree.parent(path, implied)?;
    tree.put(parent.id, tree::split(path).1, node)?;
    Ok(())
}

/// What Apptainer binds over stays as the image has it; what it runs is ours.
fn add(tree: &mut Tree<Known>, added: &Added, number: u32, implied: &Known) -> Result<(), Error> {
    let path = added.path.as_bytes();
    let known = |mode| Known { mode, origin: ContentOrigin::Own(number), ..*implied };
    let node = match &added.content {
        AddedContent::Directory if tree.find(path, true)?.is_some() => return Ok(()),
        AddedContent::Target | AddedContent::Symlink(_) if tree.find(path, false)?.is_some() => return Ok(()),
        AddedContent::Directory => Node::Directory(known(0o755)),
        AddedContent::Target => Node::File(known(0o644)),
        AddedContent::Program(_) => Node::File(known(0o755)),
        AddedContent::Data(_) => Node::File(known(0o644)),
        AddedContent::Symlink(target) => Node::Symlink(known(0o777), target.as_bytes().into()),
    };
    put_at(tree, path, node, implied)
}
