//! The tree that layers make when they are put on top of one another.
//!
//! Links are followed inside the tree, as a runtime that unpacks one layer over the other does it (containerd, Docker).

use std::collections::BTreeMap;

use super::{
    files::Entry,
    glibc::Glibc,
    listing::{Action, Attributes, Item},
};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory(Option<Attributes>),
    File(FileNode),
    Symlink(String),
}

impl Node {
    fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FileNode {
    pub glibc: Option<Glibc>,
    /// Where its content is; `None` for a hard link to nothing.
    pub origin: Option<Origin>,
}

/// An entry of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The layer's number, from the lowest.
    pub layer: u32,
    /// [`Item::entry`]
    pub entry: u32,
}

/// As many links as Linux follows before it says ELOOP (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// All paths together, those of implied directories included, of which one entry can make thousands.
const MAX_PATHS: usize = 512 << 20;

/// The paths of an image.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// From the root, without a slash at either end. The root itself is not in it.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// The length of all paths that ever were in it.
    paths: usize,
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<Entry> {
        if path.is_empty() {
            return Some(Entry::Directory);
        }
        Some(match self.nodes.get(path)? {
            Node::Directory(_) => Entry::Directory,
            Node::File(_) => Entry::File,
            Node::Symlink(target) => Entry::Symlink(target.clone()),
        })
    }

    /// Puts a layer on top, or says why that cannot be done. `layer` is its number, from the lowest.
    pub(crate) fn apply(&mut self, items: &[Item], layer: u32) -> Result<(), String> {
        // Whiteouts hide what is in lower layers, never what is in their own, wherever they stand in it.
        for item in items {
            match item.action {
                Action::Remove => {
                    if let Some(path) = self.walk(&item.path, false) {
                        self.remove(&path);
                    }
                }
                Action::Empty => {
                    if let Some(path) = self.walk(&item.path, true) {
                        self.remove_below(&path);
                    }
                }
                _ => {}
            }
        }
        items.iter().try_for_each(|item| self.add(item, layer))
    }

    fn add(&mut self, item: &Item, layer: u32) -> Result<(), String> {
        let node = match &item.action {
            Action::Remove | Action::Empty => return Ok(()),
            Action::Directory(attributes) => Node::Directory(*attributes),
            Action::File(glibc) => {
                Node::File(FileNode { glibc: *glibc, origin: Some(Origin { layer, entry: item.entry }) })
            }
            Action::Symlink(target) => Node::Symlink(target.clone()),
            // A link to something that is not there makes a runtime fail; here it is a file of which nothing is known.
            Action::HardLink(target) => {
                let target = self.walk(target, false).and_then(|target| self.nodes.get(&target));
                target.filter(|node| !node.is_directory()).cloned().unwrap_or(Node::File(FileNode::default()))
            }
        };
        let (parent, name) = item.path.rsplit_once('/').unwrap_or(("", &item.path));
        if name.is_empty() {
            return Ok(());
        }
        let path = join(&self.make_directory(parent)?, name);
        if node.is_directory()
            && let Some(present) = self.nodes.get_mut(&path).filter(|present| present.is_directory())
        {
            *present = node;
            return Ok(());
        }
        self.remove(&path);
        self.insert(path, node)
    }

    fn insert(&mut self, path: String, node: Node) -> Result<(), String> {
        self.paths += path.len() + size_of::<Node>();
        if self.paths > MAX_PATHS {
            return Err(format!("the paths of the image have more than {MAX_PATHS} bytes"));
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    fn remove(&mut self, path: &str) {
        if self.nodes.remove(path).is_some_and(|node| node.is_directory()) {
            self.remove_below(path);
        }
    }

    fn remove_below(&mut self, path: &str) {
        if path.is_empty() {
            return self.nodes.clear();
        }
        // '0' is the character after '/'.
        let below = self.nodes.range(format!("{path}/")..format!("{path}0"));
        let below: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    /// Where a path really is; `None` if it is not there.
    pub(crate) fn walk(&self, path: &str, follow_last: bool) -> Option<String> {
        let mut way = Way::new(path);
        while let Some(next) = way.next() {
            let last = way.pending.is_empty();
            match self.nodes.get(&next)? {
                Node::Symlink(target) if follow_last || !last => way.follow(target)?,
                Node::File(_) | Node::Symlink(_) if !last => return None,
                _ => way.at = next,
            }
        }
        Some(way.at)
    }

    /// Where a directory really is, which is made with all above it where it is missing or where a file is, as a
    /// runtime does for the parents that a layer does not mention.
    fn make_directory(&mut self, path: &str) -> Result<String, String> {
        let mut way = Way::new(path);
        while let Some(next) = way.next() {
            match self.nodes.get(&next) {
                Some(Node::Directory(_)) => {}
                Some(Node::Symlink(target)) => {
                    way.follow(target).ok_or_else(|| format!("the links of {path:?} lead in a circle"))?;
                    continue;
                }
                Some(Node::File(_)) | None => self.insert(next.clone(), Node::Directory(None))?,
            }
            way.at = next;
        }
        Ok(way.at)
    }
}

/// The way along a path.
struct Way {
    /// Where it has led, without links.
    at: String,
    /// The parts that are still to be gone, the next one last.
    pending: Vec<String>,
    links: usize,
}

impl Way {
    fn new(path: &str) -> Self {
        let mut way = Self { at: String::new(), pending: Vec::new(), links: 0 };
        way.push(path);
        way
    }

    fn push(&mut self, path: &str) {
        let parts = path.rsplit('/').filter(|part| !matches!(*part, "" | "."));
        self.pending.extend(parts.map(str::to_owned));
    }

    /// The path one part further on.
    fn next(&mut self) -> Option<String> {
        loop {
            match self.pending.pop()? {
                part if part == ".." => {
                    self.at.truncate(self.at.rfind('/').unwrap_or(0));
                }
                part => return Some(join(&self.at, &part)),
            }
        }
    }

    /// Goes on with a link's target, unless there were too many.
    fn follow(&mut self, target: &str) -> Option<()> {
        self.links += 1;
        if target.starts_with('/') {
            self.at.clear();
        }
        self.push(target);
        (self.links <= MAX_LINKS).then_some(())
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}
