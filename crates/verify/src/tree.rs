//! The layers of one image on top of one another: what each entry meets below it.

use std::collections::BTreeMap;

use crate::{
    layer::Layer,
    report::{Findings, Rule, Severity},
    tar::{Entry, Kind, file_name},
};

/// What is at a path, and the layer that put it there.
#[derive(Clone, Copy)]
struct Node {
    kind: NodeKind,
    layer: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeKind {
    Directory,
    File,
    Symlink,
}

type Tree<'a> = BTreeMap<&'a [u8], Node>;

/// Entries that are stacked for all images together. A thousand images may share a layer of a million entries.
const MAX_STACKED: usize = 20_000_000;

/// Checks images, for as long as that takes a bounded time.
pub(crate) struct Stacker {
    left: usize,
}

impl Stacker {
    pub fn new() -> Self {
        Self { left: MAX_STACKED }
    }

    /// Stacks an image's layers, from the lowest to the highest. `None` is a layer that could not be read;
    /// `base_layers` of them are not ours.
    pub fn check(&mut self, image: &str, layers: &[Option<&Layer>], base_layers: usize, findings: &mut Findings) {
        let mut tree = Tree::new();
        for (number, layer) in layers.iter().enumerate() {
            // Without a layer there is no telling what is missing from those above.
            let Some(layer) = layer else { return };
            let Some(left) = self.left.checked_sub(layer.entries.len()) else {
                let text = format!("its layers are not compared: the images have more than {MAX_STACKED} entries");
                return findings.error(Rule::Tar, image, text);
            };
            self.left = left;
            let place = Place { layer: number, ours: number >= base_layers, digest: &layer.report.digest };
            // Whiteouts hide lower layers only, wherever they stand in the tar.
            for entry in layer.entries.iter().filter(|entry| entry.is_whiteout()) {
                hide(&mut tree, &entry.path);
            }
            for entry in layer.entries.iter().filter(|entry| !entry.is_whiteout() && !entry.path.is_empty()) {
                add(&mut tree, entry, &place, findings);
            }
        }
    }
}

/// The layer that an entry comes from.
struct Place<'a> {
    layer: usize,
    ours: bool,
    digest: &'a str,
}

fn hide(tree: &mut Tree<'_>, whiteout: &[u8]) {
    let name = file_name(whiteout);
    let dir = &whiteout[..whiteout.len() - name.len()];
    match name {
        b".wh..wh..opq" if dir.is_empty() => tree.clear(),
        b".wh..wh..opq" => remove_below(tree, &dir[..dir.len() - 1]),
        _ => {
            let hidden = [dir, &name[b".wh.".len()..]].concat();
            tree.remove(hidden.as_slice());
            remove_below(tree, &hidden);
        }
    }
}

fn remove_below(tree: &mut Tree<'_>, path: &[u8]) {
    let start = [path, b"/"].concat();
    let below: Vec<_> =
        tree.range(start.as_slice()..).map(|(path, _)| *path).take_while(|path| path.starts_with(&start)).collect();
    for path in below {
        tree.remove(path);
    }
}

fn add<'a>(tree: &mut Tree<'a>, entry: &'a Entry, place: &Place<'_>, findings: &mut Findings) {
    let path = &*entry.path;
    let mut found = |severity, rule, text| findings.entry(severity, rule, place.digest, path, text);
    let never_ours = if place.ours { Severity::Error } else { Severity::Notice };
    let in_this_layer = |node: &Node| node.layer == place.layer;
    for node in parents(path).filter_map(|parent| tree.get(parent)) {
        match node.kind {
            // Runtimes resolve links of lower layers inside the image; within one layer it is an attack.
            NodeKind::Symlink => {
                let severity = if in_this_layer(node) { Severity::Error } else { never_ours };
                found(severity, Rule::ThroughLink, "is below a symbolic link");
            }
            NodeKind::File => found(Severity::Error, Rule::ThroughLink, "is below a file"),
            NodeKind::Directory => {}
        }
    }
    let kind = match &entry.kind {
        Kind::Directory => NodeKind::Directory,
        Kind::Symlink(_) => NodeKind::Symlink,
        Kind::File | Kind::Special(_) => NodeKind::File,
        Kind::HardLink(target) => {
            let target_node = tree.get(&**target);
            match target_node {
                Some(node) if node.kind == NodeKind::Directory => {
                    found(Severity::Error, Rule::HardLink, "is a hard link to a directory");
                }
                // It would copy a file of another layer into this one, and change if that layer does.
                Some(node) if place.ours && !in_this_layer(node) => {
                    found(Severity::Error, Rule::HardLink, "is a hard link to a file of a lower layer");
                }
                Some(_) => {}
                // Where a link of a lower layer leads is for the runtime to find out.
                None if !place.ours && below_link(tree, target) => {}
                None => found(Severity::Error, Rule::HardLink, "is a hard link to what is not there before it"),
            }
            target_node.map_or(NodeKind::File, |node| node.kind)
        }
    };
    let replaced = tree.get(path);
    let replaced_kind = replaced.map(|node| node.kind);
    let of_lower_layer = replaced.is_some_and(|node| !in_this_layer(node));
    if kind == NodeKind::Directory && replaced_kind == Some(NodeKind::Symlink) && of_lower_layer {
        found(never_ours, Rule::ReplacesLink, "is a directory where a lower layer has a symbolic link");
    }
    if kind != NodeKind::Directory && replaced_kind == Some(NodeKind::Directory) {
        remove_below(tree, path);
    }
    tree.insert(path, Node { kind, layer: place.layer });
}

fn below_link(tree: &Tree<'_>, path: &[u8]) -> bool {
    parents(path).filter_map(|parent| tree.get(parent)).any(|node| node.kind == NodeKind::Symlink)
}

/// The directories above a path, from the outermost.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(end, _)| &path[..end])
}
