//! The layers of one image on top of one another: what each entry meets below it.

use oci_read::{
    tar::Kind,
    tree::{self, Id, Node, Tree, TreeError, Whiteout},
};

use crate::{
    layer::{HashedEntry, ReadLayer},
    report::{Findings, Rule, Severity},
};

/// Stacks an image's layers, from the lowest to the highest, as long as there are `steps` left: a thousand images may share a
/// layer of a million entries. `None` is a layer that could not be read; `base_layers` of them are not ours.
pub(crate) fn stack(
    image: &str,
    layers: &[Option<&ReadLayer>],
    base_layers: usize,
    steps: &mut u64,
    findings: &mut Findings,
) {
    let mut tree = Tree::with_steps(0, *steps);
    for (number, layer) in (0_u32..).zip(layers) {
        // Without a layer, what is missing from those above cannot be told.
        let Some(layer) = layer else { break };
        let ours = number as usize >= base_layers;
        let mut stack = Stack { tree: &mut tree, number, ours, digest: &layer.report.digest, findings };
        if let Err(error) = stack.layer(&layer.entries) {
            findings.error(Rule::Tar, image, format!("its layers are not compared further: {error}"));
            break;
        }
    }
    *steps = tree.steps();
}

/// A layer on the tree of those below it. The value of a node is the layer that put it there.
struct Stack<'a> {
    tree: &'a mut Tree<u32>,
    number: u32,
    ours: bool,
    digest: &'a str,
    findings: &'a mut Findings,
}

impl Stack<'_> {
    fn layer(&mut self, entries: &[HashedEntry]) -> Result<(), TreeError> {
        // Whiteouts hide lower layers only, wherever they stand in the tar.
        for whiteout in entries.iter().filter_map(|entry| Whiteout::of(&entry.path)).flatten() {
            match whiteout {
                Whiteout::Remove(path) => self.tree.remove(&path)?,
                Whiteout::Empty(path) => self.tree.empty(&path)?,
            }
        }
        let files = entries.iter().filter(|entry| !entry.is_whiteout() && !entry.path.is_empty());
        for entry in files {
            match self.add(entry) {
                // The link that begins the circle is a finding; nothing can be below it.
                Err(TreeError::Circle(_)) => {
                    self.found(entry, Severity::Error, Rule::ThroughLink, "is below links in a circle")
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn found(&mut self, entry: &HashedEntry, severity: Severity, rule: Rule, text: &str) {
        self.findings.entry(severity, rule, self.digest, &entry.path, text);
    }

    fn is_here(&self, node: Id) -> bool {
        *self.tree.node(node).value() == self.number
    }

    fn add(&mut self, entry: &HashedEntry) -> Result<(), TreeError> {
        let never_ours = if self.ours { Severity::Error } else { Severity::Notice };
        let parent = self.tree.parent(&entry.path, &self.number)?;
        // Runtimes resolve links of lower layers inside the image; within one layer it is an attack.
        for link in parent.links {
            let severity = if self.is_here(link) { Severity::Error } else { never_ours };
            self.found(entry, severity, Rule::ThroughLink, "is below a symbolic link");
        }
        if parent.file.is_some() {
            self.found(entry, Severity::Error, Rule::ThroughLink, "is below a file");
        }
        let node = match &entry.kind {
            Kind::Directory => Node::Directory(self.number),
            Kind::Symlink(target) => Node::Symlink(self.number, target.clone()),
            Kind::File | Kind::Special(_) => Node::File(self.number),
            Kind::HardLink(target) => self.hard_link(entry, target)?,
        };
        let (_, name) = tree::split(&entry.path);
        if let Some(replaced) = self.tree.child(parent.id, name)
            && node.is_directory()
            && matches!(self.tree.node(replaced), Node::Symlink(..))
            && !self.is_here(replaced)
        {
            self.found(entry, never_ours, Rule::ReplacesLink, "is a directory where a lower layer has a symbolic link");
        }
        self.tree.put(parent.id, name, node).map(drop)
    }

    fn hard_link(&mut self, entry: &HashedEntry, target: &[u8]) -> Result<Node<u32>, TreeError> {
        let mut wrong = |text| self.findings.entry(Severity::Error, Rule::HardLink, self.digest, &entry.path, text);
        let Some(found) = self.tree.find(target, false)? else {
            wrong("is a hard link to what is not there before it");
            return Ok(Node::File(self.number));
        };
        match self.tree.node(found) {
            Node::Directory(_) => {
                wrong("is a hard link to a directory");
                Ok(Node::File(self.number))
            }
            // It would copy a file of another layer into this one, and change if that layer does.
            node if self.ours && *node.value() != self.number => {
                wrong("is a hard link to a file of a lower layer");
                Ok(Node::File(self.number))
            }
            Node::File(_) => Ok(Node::File(self.number)),
            Node::Symlink(_, target) => Ok(Node::Symlink(self.number, target.clone())),
        }
    }
}
