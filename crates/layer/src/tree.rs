//! What a layer will hold.

use std::collections::BTreeMap;

use crate::{Content, TreePath};

/// A sorted map from paths to nodes. Parent directories are implied: the writer adds the missing ones with
/// [`Mode::DIRECTORY`].
#[derive(Debug, Clone, Default)]
pub struct FileTree(BTreeMap<TreePath, Node>);

/// One entry. Owner and group are always 0:0 but of [`Node::Inherited`], and nothing else that varies by machine can be said.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory that is there even if nothing is in it.
    Directory {
        /// Its permissions.
        mode: Mode,
    },
    /// A directory of the image below, as it is there. What is put into it needs an entry for it, and any other entry
    /// would take its permissions and owner away: `/tmp` from everybody, `/home/node` from `node`.
    Inherited(DirectoryAttributes),
    /// A regular file.
    File(File),
    /// A symbolic link.
    Symlink {
        /// Where it points, verbatim.
        target: String,
        /// Seconds since 1970, or `None` for the layer's constant.
        mtime: Option<i64>,
    },
    /// Another name of a file of the same layer.
    HardLink {
        /// The file, which must come earlier in the order of paths.
        target: TreePath,
    },
}

/// A regular file.
#[derive(Debug, Clone)]
pub struct File {
    /// Its bytes.
    pub content: Content,
    /// Its permissions.
    pub mode: Mode,
    /// Seconds since 1970, or `None` for the layer's constant.
    pub mtime: Option<i64>,
}

/// Who may do what in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryAttributes {
    /// Its permissions.
    pub mode: Mode,
    /// The number of its owner.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
}

impl DirectoryAttributes {
    /// What a directory has of which nothing else is said.
    pub const DEFAULT: Self = Self { mode: Mode::DIRECTORY, owner: 0, group: 0 };
}

/// Permission bits, without set-user-id and set-group-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    /// `rw-r--r--`
    pub const FILE: Self = Self(0o644);
    /// `rwxr-xr-x` of a file.
    pub const EXECUTABLE: Self = Self(0o755);
    /// `rwxr-xr-x` of a directory.
    pub const DIRECTORY: Self = Self(0o755);
    /// `rwxrwxr-x`: the working directory, for platforms that run images under any user id with group 0.
    pub const GROUP_WRITABLE_DIRECTORY: Self = Self(0o775);
    /// `rwxrwxrwt`: `/tmp`.
    pub const STICKY_DIRECTORY: Self = Self(0o1777);

    /// `None` if `bits` has more than `rwxrwxrwx` and the sticky bit.
    pub fn new(bits: u32) -> Option<Self> {
        (bits & !0o1777 == 0).then_some(Self(bits as u16))
    }

    /// The normalised mode of a file: 0755 or 0644.
    pub fn file(executable: bool) -> Self {
        if executable { Self::EXECUTABLE } else { Self::FILE }
    }

    /// As in a tar header.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

/// A tree that contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// The path was there already.
    #[error("{path} is there twice")]
    Duplicate {
        /// The path, from the image's root.
        path: TreePath,
    },
}

impl FileTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node. A path can be given once.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), TreeError> {
        match self.0.entry(path) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(node);
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                Err(TreeError::Duplicate { path: entry.key().clone() })
            }
        }
    }

    /// Adds all nodes of another tree.
    pub fn merge(&mut self, other: Self) -> Result<(), TreeError> {
        other.0.into_iter().try_for_each(|(path, node)| self.insert(path, node))
    }

    /// As [`insert`](Self::insert), for nodes of another tree, of which no two have one path.
    pub(crate) fn put(&mut self, path: TreePath, node: Node) {
        self.0.insert(path, node);
    }

    /// The node at `path`, if it is explicit (an implied parent directory is not).
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.0.get(path)
    }

    /// Paths and nodes in the order of paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TreePath, &Node)> {
        self.0.iter()
    }

    /// How many explicit nodes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no explicit node.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for FileTree {
    type Item = (TreePath, Node);
    type IntoIter = std::collections::btree_map::IntoIter<TreePath, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
