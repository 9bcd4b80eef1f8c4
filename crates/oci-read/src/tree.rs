//! The tree that layers make when they are put on top of one another.
//!
//! Links are followed inside the tree, as a runtime that unpacks one layer over the other does (containerd, Docker).
//! Directories are nodes with children, so that a deep path costs its length once, and the last parent is remembered.

use std::{collections::BTreeMap, sync::Arc};

use crate::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(u32);

pub const ROOT: Id = Id(0);

/// What is at a path, with what the reader wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<T> {
    Directory(T),
    File(T),
    Symlink(T, Arc<[u8]>),
}

impl<T> Node<T> {
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    pub fn value(&self) -> &T {
        match self {
            Self::Directory(value) | Self::File(value) | Self::Symlink(value, _) => value,
        }
    }
}

/// Why layers cannot be put on top of one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("the links of {0:?} lead in a circle, or take more than {WALK} steps to follow", WALK = limits::WALK)]
    Circle(String),
    #[error("its paths take more than {} bytes of memory", limits::TREE)]
    TooLarge,
    #[error("its paths and links take more than {} steps to follow", limits::STEPS)]
    TooManySteps,
}

/// Where the parent of an entry is, and what was met on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    pub id: Id,
    pub links: Vec<Id>,
    /// The file that was in the place of a directory, and is not any more.
    pub file: Option<Id>,
}

#[derive(Debug)]
struct Slot<T> {
    parent: Id,
    name: Arc<[u8]>,
    node: Node<T>,
    children: BTreeMap<Arc<[u8]>, Id>,
}

#[derive(Debug)]
pub struct Tree<T> {
    slots: Vec<Slot<T>>,
    /// The directory of the entry that came last, and where it is. Nothing was removed or linked since.
    last: Option<(Box<[u8]>, Parent)>,
    memory: usize,
    steps: u64,
}

/// What a node takes beside its name.
const SLOT: usize = 144;

impl<T: Clone> Tree<T> {
    /// An empty image, whose root has this value.
    pub fn new(root: T) -> Self {
        Self::with_steps(root, limits::STEPS)
    }

    /// With what is left of the steps of other images.
    pub fn with_steps(root: T, steps: u64) -> Self {
        let root = Slot { parent: ROOT, name: b""[..].into(), node: Node::Directory(root), children: BTreeMap::new() };
        Self { slots: vec![root], last: None, memory: 0, steps }
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn node(&self, id: Id) -> &Node<T> {
        &self.slots[id.0 as usize].node
    }

    /// What is in a directory, by name.
    pub fn children(&self, id: Id) -> impl Iterator<Item = (&[u8], Id)> {
        self.slots[id.0 as usize].children.iter().map(|(name, id)| (&**name, *id))
    }

    pub fn child(&self, parent: Id, name: &[u8]) -> Option<Id> {
        self.slots[parent.0 as usize].children.get(name).copied()
    }

    /// Where a path really is; `None` if it is not there, or its links lead in a circle.
    pub fn walk(&self, path: &[u8], follow_last: bool) -> Option<Id> {
        self.go(&mut Way::new(path), follow_last)
    }

    /// The path of a node, without a slash at either end.
    pub fn path(&self, id: Id) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let slot = &self.slots[at.0 as usize];
            names.push(&*slot.name);
            at = slot.parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// All that is below a directory, by path from there; a directory comes before what is in it.
    pub fn below(&self, directory: Id) -> impl Iterator<Item = (Vec<u8>, Id)> {
        let mut pending: Vec<(Vec<u8>, Id)> = vec![(Vec::new(), directory)];
        let all = std::iter::from_fn(move || {
            let (path, id) = pending.pop()?;
            let join = |name: &[u8]| if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
            let children = &self.slots[id.0 as usize].children;
            pending.extend(children.iter().rev().map(|(name, child)| (join(name), *child)));
            Some((path, id))
        });
        all.skip(1)
    }

    fn go(&self, way: &mut Way, follow_last: bool) -> Option<Id> {
        while let Some(name) = way.next(self).ok()? {
            let last = way.pending.is_empty();
            let next = self.child(way.at, &name)?;
            match self.node(next) {
                Node::Symlink(_, target) if follow_last || !last => way.follow(next, target).ok()?,
                Node::File(_) | Node::Symlink(..) if !last => return None,
                _ => way.at = next,
            }
        }
        Some(way.at)
    }

    /// [`walk`](Self::walk), at the cost of the budget.
    pub fn find(&mut self, path: &[u8], follow_last: bool) -> Result<Option<Id>, TreeError> {
        let mut way = Way::new(path);
        let found = self.go(&mut way, follow_last);
        self.spend(way.steps).map(|()| found)
    }

    /// Removes what lower layers have at `path` (OCI image-spec, layer.md, "Whiteouts"). The whiteouts of a layer come
    /// before its entries, wherever they stand in it.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let (parent, name) = split(path);
        if let Some(parent) = self.find(parent, true)? {
            self.last = None;
            self.slots[parent.0 as usize].children.remove(name);
        }
        Ok(())
    }

    /// Removes what lower layers have in the directory ("Opaque Whiteout").
    pub fn empty(&mut self, path: &[u8]) -> Result<(), TreeError> {
        if let Some(directory) = self.find(path, true)? {
            self.last = None;
            self.slots[directory.0 as usize].children.clear();
        }
        Ok(())
    }

    /// Where the directory above `path` really is. It is made with all above it where it is missing or where a file is,
    /// as a runtime does for parents that a layer does not mention; `implied` is the value of such a directory.
    pub fn parent(&mut self, path: &[u8], implied: &T) -> Result<Parent, TreeError> {
        let directory = split(path).0;
        if let Some((last, parent)) = self.last.as_ref().filter(|(last, _)| **last == *directory) {
            debug_assert_eq!(last.len(), directory.len());
            return Ok(parent.clone());
        }
        let mut way = Way::new(directory);
        let mut file = None;
        let circle = |_| TreeError::Circle(String::from_utf8_lossy(directory).into_owned());
        while let Some(name) = way.next(self).map_err(circle)? {
            match self.child(way.at, &name).map(|next| (next, self.node(next))) {
                Some((next, Node::Directory(_))) => way.at = next,
                Some((next, Node::Symlink(_, target))) => way.follow(next, target).map_err(circle)?,
                other => {
                    file = file.or(other.map(|(id, _)| id));
                    way.at = self.put(way.at, &name, Node::Directory(implied.clone()))?;
                }
            }
        }
        self.spend(way.steps)?;
        let parent = Parent { id: way.at, links: way.links, file };
        self.last = Some((directory.into(), parent.clone()));
        Ok(parent)
    }

    /// Puts a node into a directory. A directory keeps what is in the one that it replaces.
    pub fn put(&mut self, parent: Id, name: &[u8], node: Node<T>) -> Result<Id, TreeError> {
        if let Some(present) = self.child(parent, name) {
            if node.is_directory() && self.node(present).is_directory() {
                self.slots[present.0 as usize].node = node;
                return Ok(present);
            }
            // What is below it is gone, and a path through it leads elsewhere.
            self.last = None;
        }
        let target = if let Node::Symlink(_, target) = &node { target.len() } else { 0 };
        self.memory += SLOT + size_of::<T>() + name.len() + target;
        let id =
            u32::try_from(self.slots.len()).ok().filter(|_| self.memory <= limits::TREE).ok_or(TreeError::TooLarge)?;
        let name: Arc<[u8]> = name.into();
        self.slots.push(Slot { parent, name: name.clone(), node, children: BTreeMap::new() });
        self.slots[parent.0 as usize].children.insert(name, Id(id));
        Ok(Id(id))
    }

    fn spend(&mut self, steps: u64) -> Result<(), TreeError> {
        self.steps = self.steps.checked_sub(steps).ok_or(TreeError::TooManySteps)?;
        Ok(())
    }
}

/// The directory and the name of a path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    Remove(Vec<u8>),
    Empty(Vec<u8>),
}

impl Whiteout {
    /// What an entry of this path hides; `None` if it is not a whiteout. `Some(None)` for AUFS's own files, which never
    /// were in an image's tree, and for names that no file has.
    pub fn of(path: &[u8]) -> Option<Option<Self>> {
        let (parent, name) = split(path);
        let hidden = name.strip_prefix(b".wh.")?;
        Some(match hidden {
            b".wh..opq" => Some(Self::Empty(parent.to_vec())),
            b"" | b"." | b".." => None,
            aufs if aufs.starts_with(b".wh.") => None,
            hidden if parent.is_empty() => Some(Self::Remove(hidden.to_vec())),
            hidden => Some(Self::Remove([parent, b"/", hidden].concat())),
        })
    }
}

/// The way along a path.
struct Way {
    at: Id,
    /// The parts that are still to be gone, the next one last.
    pending: Vec<Box<[u8]>>,
    links: Vec<Id>,
    steps: u64,
}

/// More links or steps than a path may have.
struct Lost;

impl Way {
    fn new(path: &[u8]) -> Self {
        let mut way = Self { at: ROOT, pending: Vec::new(), links: Vec::new(), steps: 0 };
        way.push(path);
        way
    }

    fn push(&mut self, path: &[u8]) {
        let parts = path.rsplit(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
        self.pending.extend(parts.map(Into::into));
    }

    /// The next name, in the directory `at`.
    fn next<T>(&mut self, tree: &Tree<T>) -> Result<Option<Box<[u8]>>, Lost> {
        while let Some(part) = self.pending.pop() {
            self.steps += 1;
            if self.steps > limits::WALK {
                return Err(Lost);
            }
            if &*part != b".." {
                return Ok(Some(part));
            }
            self.at = tree.slots[self.at.0 as usize].parent;
        }
        Ok(None)
    }

    /// Goes on with a link's target, unless there were too many.
    fn follow(&mut self, link: Id, target: &[u8]) -> Result<(), Lost> {
        self.links.push(link);
        if target.starts_with(b"/") {
            self.at = ROOT;
        }
        self.push(target);
        if self.links.len() > limits::LINKS { Err(Lost) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tree: &mut Tree<u8>, path: &str, node: Node<u8>) -> Result<Parent, TreeError> {
        let parent = tree.parent(path.as_bytes(), &0)?;
        tree.put(parent.id, split(path.as_bytes()).1, node)?;
        Ok(parent)
    }

    fn link(target: &str) -> Node<u8> {
        Node::Symlink(1, target.as_bytes().into())
    }

    fn at(tree: &Tree<u8>, path: &str) -> Option<String> {
        tree.walk(path.as_bytes(), true).map(|id| String::from_utf8(tree.path(id)).unwrap())
    }

    #[test]
    fn links_are_followed_and_named() {
        let mut tree = Tree::new(0);
        add(&mut tree, "usr/lib/a", Node::File(1)).unwrap();
        add(&mut tree, "lib", link("usr/./lib//")).unwrap();
        add(&mut tree, "abs", link("/../lib")).unwrap();
        let parent = add(&mut tree, "abs/b", Node::File(2)).unwrap();
        assert_eq!((parent.links.len(), parent.file), (2, None));
        assert_eq!(parent.links, [tree.walk(b"abs", false).unwrap(), tree.walk(b"lib", false).unwrap()]);
        assert_eq!(at(&tree, "lib/b").as_deref(), Some("usr/lib/b"));
        assert_eq!(at(&tree, "usr/lib/a/x"), None);
        let replaced = add(&mut tree, "usr/lib/a/x", Node::File(3)).unwrap();
        assert!(replaced.file.is_some());
        assert_eq!(at(&tree, "abs/a/x").as_deref(), Some("usr/lib/a/x"));
        // The remembered parent is forgotten when a link takes its place.
        add(&mut tree, "usr/lib", link("/else")).unwrap();
        add(&mut tree, "usr/lib/c", Node::File(4)).unwrap();
        assert_eq!(at(&tree, "abs/c").as_deref(), Some("else/c"));
        add(&mut tree, "usr/lib/d", Node::File(4)).unwrap();
        tree.remove(b"else").unwrap();
        add(&mut tree, "usr/lib/e", Node::File(4)).unwrap();
        assert_eq!((at(&tree, "else/d"), at(&tree, "else/e").as_deref()), (None, Some("else/e")));
    }

    #[test]
    fn circles_and_floods_are_refused() {
        let mut tree = Tree::new(0);
        add(&mut tree, "l", link("l")).unwrap();
        assert!(matches!(add(&mut tree, "l/x", Node::File(1)), Err(TreeError::Circle(_))));
        assert_eq!(at(&tree, "l"), None);
        // Each link alone is short enough; the way along all of them is not.
        let mut tree = Tree::new(0);
        let parts = "d/../".repeat(800);
        add(&mut tree, "d/x", Node::File(1)).unwrap();
        for n in 0..38 {
            add(&mut tree, &format!("l{n}"), link(&format!("{parts}l{}", n + 1))).unwrap();
        }
        assert!(matches!(add(&mut tree, "l0/x", Node::File(1)), Err(TreeError::Circle(_))));
        let mut tree = Tree::with_steps(0, 1000);
        assert!(
            (0..500)
                .find_map(|n| add(&mut tree, &format!("a/b/c/{n}/x"), Node::File(1)).err())
                .is_some_and(|error| error == TreeError::TooManySteps)
        );
        let deep = vec!["a"; 200].join("/");
        let mut tree = Tree::new(0);
        let flood = (0..100_000).find_map(|n| add(&mut tree, &format!("{n}/{deep}/x"), Node::File(1)).err());
        assert_eq!(flood, Some(TreeError::TooLarge));
    }

    #[test]
    fn whiteouts_by_their_names() {
        assert_eq!(Whiteout::of(b"a/b"), None);
        assert_eq!(Whiteout::of(b"a/.wh.b"), Some(Some(Whiteout::Remove(b"a/b".to_vec()))));
        assert_eq!(Whiteout::of(b".wh.b"), Some(Some(Whiteout::Remove(b"b".to_vec()))));
        assert_eq!(Whiteout::of(b"a/.wh..wh..opq"), Some(Some(Whiteout::Empty(b"a".to_vec()))));
        for none in ["a/.wh.", "a/.wh..", "a/.wh...", "a/.wh..wh.plnk"] {
            assert_eq!(Whiteout::of(none.as_bytes()), Some(None), "{none}");
        }
    }
}
