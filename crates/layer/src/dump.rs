//! A tree as text: the language in which tests and golden files speak of trees.

use std::fmt::Write;

use crate::{Digest, DirectoryAttributes, FileTree, Node};

/// One line a node, in the order of paths: kind and mode, mtime (`-` for the layer's constant), path, and the
/// content's length and digest or the link's target.
pub fn dump(tree: &FileTree) -> String {
    let mut text = String::new();
    for (path, node) in tree.iter() {
        let time = |mtime: &Option<i64>| mtime.map_or("-".to_string(), |t| t.to_string());
        let line = match node {
            Node::Directory { mode } => format!("d {:04o} - {path}", mode.bits()),
            Node::Inherited(DirectoryAttributes { mode, owner, group }) => {
                format!("d {:04o} - {path} {owner}:{group}", mode.bits())
            }
            Node::Symlink { target, mtime } => format!("l 0777 {} {path} -> {target:?}", time(mtime)),
            Node::HardLink { target } => format!("h - - {path} => {target}"),
            Node::File(file) => {
                let digest = file
                    .content
                    .to_vec()
                    .map_or_else(|error| format!("unreadable: {error}"), |bytes| Digest::of(&bytes).to_string());
                format!("f {:04o} {} {path} {} {digest}", file.mode.bits(), time(&file.mtime), file.content.len())
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}
