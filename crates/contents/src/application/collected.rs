//! What an application layer gets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use pixi_oci_layer::{Content, FileTree};

/// The layer's tree, and what was left out of it.
#[derive(Debug, Default)]
pub struct Application {
    /// Paths from the image's root.
    pub tree: FileTree,
    /// Paths below the workspace's root that look like secrets, and what they look like.
    pub left_out: BTreeMap<String, &'static str>,
    /// Files that are in the tree without the logins that URLs in them have, and what the tree has in their place.
    pub cleaned: BTreeMap<PathBuf, Content>,
}

impl Application {
    /// What there is to say of files that are not in the tree as they are below `root`.
    pub fn warnings(&self, root: &Path) -> Vec<String> {
        let left_out = self.left_out.iter().map(|(path, what)| {
            format!("{path} is left out: its name means {what}; name it in `include` if it is meant to be there")
        });
        let cleaned = self.cleaned.keys().map(|path| {
            let path = path.strip_prefix(root).unwrap_or(path).display();
            format!(
                "{path}: the logins in its URLs are left out; `pixi auth login HOST` keeps them out of the file, too"
            )
        });
        left_out.chain(cleaned).collect()
    }
}
