//! Files of the application layer and what lies below them.
//!
//! A layer's entry replaces what the layers below have at its path: a directory's entry, even one that is only there
//! because a file is in it, replaces a *link* to a directory, and everything behind the link is gone (`/lib -> usr/lib` in
//! most distributions). So paths are written where the base's links lead, and what would hide something is an error.
//!
//! It also replaces the permissions and owner of the base's directory: a file in `/tmp` must not close `/tmp`. So the
//! application layer, which is the last one, repeats the directories of the base that have others than most and that any
//! of our layers has something in.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use pixi_oci_layer::{DirectoryAttributes, FileTree, Mode, Node, TreePath};
use pixi_oci_store::base::{BaseEntry, BaseFiles};

use crate::ApplicationError;

/// What is below the application layer.
pub struct Below<'a> {
    base: Option<&'a BaseFiles>,
    prefix: &'a TreePath,
    paths: Vec<&'a [(TreePath, bool)]>,
    /// Whether a path below the prefix is a directory of the packages, implied ones included. Most applications have nothing there,
    /// and need not know.
    packages: OnceCell<HashMap<&'a str, bool>>,
    /// The same of other paths, and of those of the environment layer.
    others: HashMap<&'a str, bool>,
    /// The directories of the environment layer that are there for themselves.
    environment: BTreeMap<TreePath, Mode>,
}

impl<'a> Below<'a> {
    /// The base image, the `paths` of each package below `prefix`, each with whether it is a directory, and the environment layer.
    pub fn new(
        base: Option<&'a BaseFiles>,
        prefix: &'a TreePath,
        paths: Vec<&'a [(TreePath, bool)]>,
        environment: &'a FileTree,
    ) -> Self {
        let mut others = HashMap::new();
        if paths.iter().any(|paths| !paths.is_empty()) {
            insert_above(&mut others, prefix);
            others.insert(prefix.as_str(), true);
        }
        let mut directories = BTreeMap::new();
        for (path, node) in environment.iter() {
            insert_above(&mut others, path);
            others.entry(path.as_str()).or_insert(matches!(node, Node::Directory { .. }));
            if let Node::Directory { mode } = node {
                directories.insert(path.clone(), *mode);
            }
        }
        Self { base, prefix, paths, packages: OnceCell::new(), others, environment: directories }
    }

    fn packages(&self) -> &HashMap<&'a str, bool> {
        self.packages.get_or_init(|| {
            let mut packages = HashMap::with_capacity(self.paths.iter().map(|paths| paths.len()).sum());
            let mut known = None;
            for (path, is_directory) in self.paths.iter().copied().flatten() {
                // Neighbours are mostly in one directory.
                let parent = path.as_str().rsplit_once('/').map(|(parent, _)| parent);
                if parent != known {
                    insert_above(&mut packages, path);
                    known = parent;
                }
                packages.entry(path.as_str()).or_insert(*is_directory);
            }
            packages
        })
    }

    /// Whether a path of our own layers is a directory.
    fn ours(&self, path: &str) -> Option<bool> {
        let below = path.strip_prefix(self.prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let found = [below.and_then(|path| self.packages().get(path)), self.others.get(path)];
        found.into_iter().flatten().copied().reduce(|one, other| one || other)
    }

    /// The tree with every path where the base's links lead, and with the directories that would become others else.
    pub fn settle(&self, tree: FileTree) -> Result<FileTree, ApplicationError> {
        let special: BTreeMap<String, DirectoryAttributes> =
            self.base.iter().flat_map(|base| base.special_directories()).collect();
        let mut settled = FileTree::new();
        for (path, node) in tree.iter() {
            let real = self.real(path)?;
            let is_special = special.contains_key(real.as_str()) && matches!(node, Node::Directory { .. });
            if self.has_directory(path, &real, node)? || is_special {
                continue;
            }
            let real = TreePath::new(&real).map_err(|_| self.way(path, &real, "no path"))?;
            settled.insert(real, node.clone())?;
        }
        self.keep_directories(special, &mut settled)?;
        Ok(settled)
    }

    /// Adds the directories that the layers below have with permissions or owners of their own.
    fn keep_directories(
        &self,
        special: BTreeMap<String, DirectoryAttributes>,
        tree: &mut FileTree,
    ) -> Result<(), ApplicationError> {
        let above: HashSet<String> =
            tree.iter().flat_map(|(path, _)| path.ancestors()).map(ToOwned::to_owned).collect();
        let mut kept: BTreeMap<TreePath, Node> = BTreeMap::new();
        for (path, attributes) in special {
            if (above.contains(&path) || self.ours(&path) == Some(true))
                && let Ok(path) = TreePath::new(&path)
            {
                kept.insert(path, Node::Inherited(attributes));
            }
        }
        for (path, mode) in &self.environment {
            // It is only replaced by what is in this layer.
            if above.contains(path.as_str()) {
                kept.entry(path.clone()).or_insert(Node::Directory { mode: *mode });
            }
        }
        for (path, node) in kept {
            if tree.get(&path).is_none() {
                tree.insert(path, node)?;
            }
        }
        Ok(())
    }

    /// The path without links of the base above it.
    fn real(&self, path: &TreePath) -> Result<String, ApplicationError> {
        let mut real = String::new();
        for directory in path.parent().iter().flat_map(|parent| parent.components()) {
            let next = if real.is_empty() { directory.to_string() } else { format!("{real}/{directory}") };
            if self.ours(&next) == Some(false) {
                return Err(self.way(path, &next, "a file or link of a package or of the environment"));
            }
            real = match self.base.map(|base| (base.resolve(&format!("/{next}")), base.lookup(&format!("/{next}")))) {
                Some((Some((place, BaseEntry::Directory)), _)) => place.trim_start_matches('/').to_string(),
                Some((Some(_), _)) => return Err(self.way(path, &next, "a file of the base image")),
                Some((None, Some(_))) => {
                    return Err(self.way(path, &next, "a link of the base image that leads nowhere"));
                }
                Some((None, None)) | None => next,
            };
        }
        Ok(if real.is_empty() { path.file_name().to_string() } else { format!("{real}/{}", path.file_name()) })
    }

    /// Whether the node is a directory that is there already, under this name or through a link.
    fn has_directory(&self, path: &TreePath, real: &str, node: &Node) -> Result<bool, ApplicationError> {
        let is_directory = matches!(node, Node::Directory { .. });
        // A mount point is content with what is there.
        let as_it_is = matches!(node, Node::Directory { mode: Mode::DIRECTORY });
        match (self.ours(real), is_directory) {
            (Some(true), false) => {
                return Err(self.way(path, real, "a directory of the packages or of the environment"));
            }
            (Some(false), true) => {
                return Err(self.way(path, real, "a file or link of a package or of the environment"));
            }
            _ if as_it_is && self.environment.contains_key(real) => return Ok(true),
            _ => {}
        }
        let Some(base) = self.base else { return Ok(false) };
        match (base.lookup(&format!("/{real}")), is_directory) {
            (Some(BaseEntry::Directory), true) => Ok(as_it_is),
            (Some(BaseEntry::Directory), false) => Err(self.way(path, real, "a directory of the base image")),
            (Some(BaseEntry::Symlink(_)), true) => match base.resolve(&format!("/{real}")) {
                Some((_, BaseEntry::Directory)) => Ok(true),
                _ => Err(self.way(path, real, "a link of the base image, not to a directory")),
            },
            (Some(BaseEntry::File), true) => Err(self.way(path, real, "a file of the base image")),
            _ => Ok(false),
        }
    }

    fn way(&self, path: &TreePath, other: &str, what: &'static str) -> ApplicationError {
        ApplicationError::InTheWay { path: format!("/{path}"), other: format!("/{other}"), what }
    }
}

/// Notes the directories above a path. Where one is known, those above it are.
fn insert_above<'p>(known: &mut HashMap<&'p str, bool>, path: &'p TreePath) {
    for (at, _) in path.as_str().rmatch_indices('/') {
        if known.insert(&path.as_str()[..at], true) == Some(true) {
            break;
        }
    }
}
