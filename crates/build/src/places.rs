//! Files of the application layer and what lies below them.
//!
//! A layer's entry replaces what the layers below have at its path: a directory's entry, even one that is only there
//! because a file is in it, replaces a *link* to a directory, and everything behind the link is gone (`/lib -> usr/lib` in
//! most distributions). So paths are written where the base's links lead, and what would hide something is an error.

use std::collections::HashMap;

use pixi_oci_layer::{FileTree, Node, TreePath};
use pixi_oci_publish::base::{BaseFiles, Entry};

use crate::layers::ReadyPackage;

/// Something is in the way of a file or directory of the application layer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{path} cannot be put into the image: {other} is {what}; choose another destination in `include` or `directories`"
)]
pub struct InTheWay {
    path: String,
    other: String,
    what: &'static str,
}

/// What is below the application layer.
pub struct Below<'a> {
    base: Option<&'a BaseFiles>,
    /// Whether a path of our own layers is a directory, implied ones included.
    ours: HashMap<String, bool>,
}

impl<'a> Below<'a> {
    /// The base image, the packages below `prefix`, and the environment layer.
    pub fn new(
        base: Option<&'a BaseFiles>,
        prefix: &TreePath,
        packages: &[ReadyPackage<'_>],
        environment: &FileTree,
    ) -> Self {
        let mut below = Self { base, ours: HashMap::new() };
        for package in packages.iter().filter(|package| !package.is_own) {
            for (path, is_directory) in &package.paths {
                below.insert(&format!("{prefix}/{path}"), *is_directory);
            }
        }
        for (path, node) in environment.iter() {
            below.insert(path.as_str(), matches!(node, Node::Directory { .. }));
        }
        below
    }

    fn insert(&mut self, path: &str, is_directory: bool) {
        // Where a directory is known, those above it are.
        for (at, _) in path.rmatch_indices('/') {
            if self.ours.insert(path[..at].to_string(), true) == Some(true) {
                break;
            }
        }
        self.ours.entry(path.to_string()).or_insert(is_directory);
    }

    /// The tree with every path where the base's links lead.
    pub fn settle(&self, tree: FileTree) -> Result<FileTree, crate::Error> {
        let mut settled = FileTree::new();
        for (path, node) in tree.iter() {
            let is_directory = matches!(node, Node::Directory { .. });
            let real = self.real(path)?;
            if self.has_directory(path, &real, is_directory)? {
                continue;
            }
            let real = TreePath::new(&real).map_err(|_| self.way(path, &real, "no path"))?;
            settled.insert(real, node.clone()).map_err(crate::application::ApplicationError::Tree)?;
        }
        Ok(settled)
    }

    /// The path without links of the base above it.
    fn real(&self, path: &TreePath) -> Result<String, InTheWay> {
        let mut real = String::new();
        for directory in path.parent().iter().flat_map(|parent| parent.components()) {
            let next = if real.is_empty() { directory.to_string() } else { format!("{real}/{directory}") };
            if self.ours.get(&next) == Some(&false) {
                return Err(self.way(path, &next, "a file or link of a package or of the environment"));
            }
            real = match self.base.map(|base| (base.resolve(&format!("/{next}")), base.lookup(&format!("/{next}")))) {
                Some((Some((place, Entry::Directory)), _)) => place.trim_start_matches('/').to_string(),
                Some((Some(_), _)) => return Err(self.way(path, &next, "a file of the base image")),
                Some((None, Some(_))) => {
                    return Err(self.way(path, &next, "a link of the base image that leads nowhere"));
                }
                Some((None, None)) | None => next,
            };
        }
        Ok(if real.is_empty() { path.file_name().to_string() } else { format!("{real}/{}", path.file_name()) })
    }

    /// Whether the node is a directory that the base has already, under this name or through a link.
    fn has_directory(&self, path: &TreePath, real: &str, is_directory: bool) -> Result<bool, InTheWay> {
        match (self.ours.get(real), is_directory) {
            (Some(true), false) => {
                return Err(self.way(path, real, "a directory of the packages or of the environment"));
            }
            (Some(false), true) => {
                return Err(self.way(path, real, "a file or link of a package or of the environment"));
            }
            _ => {}
        }
        let Some(base) = self.base else { return Ok(false) };
        match (base.lookup(&format!("/{real}")), is_directory) {
            (Some(Entry::Directory), false) => Err(self.way(path, real, "a directory of the base image")),
            (Some(Entry::Symlink(_)), true) => match base.resolve(&format!("/{real}")) {
                Some((_, Entry::Directory)) => Ok(true),
                _ => Err(self.way(path, real, "a link of the base image, not to a directory")),
            },
            (Some(Entry::File), true) => Err(self.way(path, real, "a file of the base image")),
            _ => Ok(false),
        }
    }

    fn way(&self, path: &TreePath, other: &str, what: &'static str) -> InTheWay {
        InTheWay { path: format!("/{path}"), other: format!("/{other}"), what }
    }
}
