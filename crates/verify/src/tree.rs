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

/// Stacks the layers, from the lowest to the highest.
pub(crate) fn check(layers: &[&Layer], findings: &mut Findings) {
    let mut tree = Tree::new();
    for (number, layer) in layers.iter().enumerate() {
        // Whiteouts hide lower layers only, wherever they stand in the tar.
        for entry in layer.entries.iter().filter(|entry| entry.is_whiteout()) {
            hide(&mut tree, &entry.path);
        }
        for entry in layer.entries.iter().filter(|entry| !entry.is_whiteout() && !entry.path.is_empty()) {
            add(&mut tree, entry, number, &layer.report.digest, findings);
        }
    }
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

fn add<'a>(tree: &mut Tree<'a>, entry: &'a Entry, layer: usize, digest: &str, findings: &mut Findings) {
    let path = &*entry.path;
    let mut found = |severity, rule, detail| findings.entry(severity, rule, digest, path, detail);
    for parent in parents(path) {
        match tree.get(parent) {
            Some(Node { kind: NodeKind::Symlink, layer: of }) => {
                // Runtimes resolve links of lower layers inside the image; within one layer it is an attack.
                let severity = if *of == layer { Severity::Error } else { Severity::Notice };
                found(severity, Rule::ThroughLink, "is below a symbolic link");
            }
            Some(Node { kind: NodeKind::File, .. }) => found(Severity::Error, Rule::ThroughLink, "is below a file"),
            Some(Node { kind: NodeKind::Directory, .. }) | None => {}
        }
    }
    let kind = match &entry.kind {
        Kind::Directory => NodeKind::Directory,
        Kind::Symlink => NodeKind::Symlink,
        Kind::File | Kind::Special(_) => NodeKind::File,
        Kind::HardLink(target) => {
            match tree.get(&**target) {
                Some(Node { kind: NodeKind::Directory, .. }) => {
                    found(Severity::Error, Rule::HardLink, "is a hard link to a directory");
                }
                Some(_) => {}
                // Where a link leads is for the runtime to find out, and the link has its own finding.
                None if parents(target).any(|p| tree.get(p).is_some_and(|n| n.kind == NodeKind::Symlink)) => {}
                None => found(Severity::Error, Rule::HardLink, "is a hard link to what is not there before it"),
            }
            tree.get(&**target).map_or(NodeKind::File, |node| node.kind)
        }
    };
    let below = tree.get(path).copied();
    if kind == NodeKind::Directory && below.is_some_and(|node| node.kind == NodeKind::Symlink && node.layer < layer) {
        found(Severity::Notice, Rule::ReplacesLink, "is a directory where a lower layer has a symbolic link");
    }
    if kind != NodeKind::Directory && below.is_some_and(|node| node.kind == NodeKind::Directory) {
        remove_below(tree, path);
    }
    tree.insert(path, Node { kind, layer });
}

/// The directories above a path, from the outermost.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(end, _)| &path[..end])
}
