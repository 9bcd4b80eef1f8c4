//! A path on its way to its place.

use pixi_oci_layer::TreePath;
use rattler_conda_types::package::PathType;

/// A path of one package on its way.
pub(super) struct Item {
    pub what: ItemSource,
    /// Where it is if the package is alone.
    pub own: TreePath,
    /// Without links above it.
    pub resolved: TreePath,
}

/// What an item is, with its index in `PackageFacts::paths` or `PackageFacts::entry_points`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemSource {
    Path(usize, PathType),
    EntryPoint(usize),
}

impl ItemSource {
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Path(_, PathType::Directory))
    }

    /// The index of a listed path that is a symbolic link.
    pub fn link(self) -> Option<usize> {
        match self {
            Self::Path(index, PathType::SoftLink) => Some(index),
            _ => None,
        }
    }
}

/// Whether a directory above one of the items, or a directory that is one of them, is among those that `is_wanted` knows.
///
/// Environments have hundreds of thousands of paths, and next to none of them meets another package: this question is
/// asked of all, and what is expensive only where the answer is yes. Neighbours are mostly in one directory, which is looked up
/// once.
pub(super) fn goes_through<'a>(
    items: &'a [Item],
    path_of: impl Fn(&'a Item) -> &'a TreePath,
    is_wanted: impl Fn(&str) -> bool,
) -> bool {
    let mut known = "";
    items.iter().any(|item| {
        let path = path_of(item);
        let parent = path.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        let above = parent != known && path.ancestors().any(&is_wanted);
        known = parent;
        above || (item.what.is_directory() && is_wanted(path.as_str()))
    })
}
