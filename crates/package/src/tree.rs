//! One package's file tree, from one reading of its archive.

mod patch;
mod reading;
mod record;

use std::{collections::BTreeMap, path::Path};

use pixi_oci_layer::{Content, ContentStore, File, FileTree, Mode, Node, TreePath};
use rattler::install::python_entry_point_template;
use serde::{Deserialize, Serialize};

pub use self::record::CondaMeta;
use self::{patch::Patcher, reading::Reading};
use crate::{
    archive::Archive,
    corrections::{Corrections, Faults},
    error::{Error, Refusal},
    facts::{CompleteFacts, Links},
    info::PackageInfo,
    path::follow,
    plan::LinkPlan,
    prefix::TargetPrefix,
    variables::check_variables,
};

/// A package's part of an image.
#[derive(Debug)]
pub struct PackageTree {
    /// What it puts into the image, from the image's root: its files below the prefix, and its record in `conda-meta/`.
    pub tree: FileTree,
    /// The symbolic links that point out of the prefix. They are kept, as rattler keeps them; the user wants to know.
    pub outside_links: Vec<OutsideLink>,
    /// The targets of all its symbolic links, by where they are in the package.
    pub links: Links,
    /// Where its own list of files is wrong.
    pub corrections: Corrections,
}

impl PackageInfo {
    /// The package's facts with the targets of links that were seen while `tree` was made of the same archive.
    pub fn complete_facts(&self, tree: &PackageTree) -> CompleteFacts {
        CompleteFacts { facts: self.facts(), links: tree.links.clone() }
    }
}

/// A symbolic link that points out of the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideLink {
    /// Where it is, relative to the prefix.
    pub path: TreePath,
    /// Where it points, verbatim.
    pub target: String,
}

/// Reads the archive at `archive` and makes the tree that `plan` describes.
///
/// `info` and `plan` must come from the same archive. `meta` is what the package's `conda-meta` record says that is not
/// in the archive. Contents go to `store`; `scratch` is a directory for unnamed temporary files, which hold what is too
/// large for memory while its placeholder is replaced.
///
/// Modes are 0755 or 0644 by the executable bit. A file keeps the archive's modification time, so that bytecode in the
/// package stays valid; one whose placeholder was replaced gets that of `info/about.json` plus one second (without that
/// file: of the latest entry plus one second), so that bytecode made of it is not used. Scripts and the record have none.
/// Hard links stay links between unpatched files of the package.
pub fn file_tree(
    archive: &Path,
    info: &PackageInfo,
    plan: &LinkPlan,
    prefix: &TargetPrefix,
    meta: &CondaMeta,
    store: &mut ContentStore,
    scratch: &Path,
) -> Result<PackageTree, Error> {
    let archive = Archive::reopen(archive, &info.file_name)?;
    let mut patcher = Patcher::new(&archive, prefix, plan.subdir, scratch);
    let mut reading = Reading::new(&archive, info, plan);
    reading.read(&mut patcher, store)?;
    reading.copy(&mut patcher, store)?;
    let linked = reading.finish()?;

    let mut tree = FileTree::new();
    let mut outside_links = Vec::new();
    let mut links = Links::new();
    let place = |path: &TreePath| {
        prefix.tree_path().join(path.as_str()).map_err(|e| Error::path(&info.file_name, path.as_str(), e))
    };
    let mut insert = |path: &TreePath, node| {
        let at = place(path)?;
        tree.insert(at, node).map_err(|_| Error::path(&info.file_name, path.as_str(), Refusal::Duplicate))
    };
    let mut entries = Vec::with_capacity(linked.len() + plan.entry_points.len());
    let mut faults = Faults::new("info/paths.json");
    for (planned, linked) in plan.paths.iter().zip(linked) {
        entries.push(record::entry(&info.paths[planned.index], planned, &linked, &mut faults));
        if let Node::Symlink { target, .. } = &linked.node {
            links.insert(info.paths[planned.index].path.clone(), target.clone());
            if leaves(prefix, &planned.path, target) {
                outside_links.push(OutsideLink { path: planned.path.clone(), target: target.clone() });
            }
        }
        let node = match linked.node {
            Node::HardLink { target } => Node::HardLink { target: place(&target)? },
            node => node,
        };
        insert(&planned.path, node)?;
    }
    if let Some(python) = &plan.python {
        let python = python.info(plan.subdir);
        for planned in &plan.entry_points {
            let script = python_entry_point_template(prefix.as_str(), false, &planned.entry_point, &python);
            entries.push(record::script(planned, script.as_bytes()));
            let content = Content::from_bytes(script);
            insert(&planned.path, Node::File(File { content, mode: Mode::EXECUTABLE, mtime: None }))?;
        }
    }
    let (path, json) = record::conda_meta(info, meta, entries)?;
    insert(&path, Node::File(File { content: Content::from_bytes(json), mode: Mode::FILE, mtime: None }))?;
    check_variables(&info.file_name, &tree, prefix)?;
    // The record in the prefix has them right.
    let corrections = faults.corrections(BTreeMap::new());
    Ok(PackageTree { tree, outside_links, links, corrections })
}

/// Whether a link at `path` leaves the prefix, as rattler judges it: by the text of its target alone.
fn leaves(prefix: &TargetPrefix, path: &TreePath, target: &str) -> bool {
    let at = format!("{}/{path}", prefix.tree_path());
    let parts = match target.strip_prefix('/') {
        Some(absolute) => follow("link", absolute),
        None => follow(&at, target),
    };
    let prefix = prefix.tree_path();
    !parts.is_some_and(|parts| {
        parts.len() >= prefix.components().count() && prefix.components().zip(&parts).all(|(a, b)| a == *b)
    })
}
