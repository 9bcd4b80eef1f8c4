//! git, run so that nothing of a repository runs: no hooks, no file system monitor, no filters, no other programs that its
//! configuration or attributes name.
//!
//! [`Git`] is the one way to run it. [`Git::tree`] says whether a working tree is that of its commit, [`Git::describe`] which
//! tag it descends from, and [`Git::commit`] what it is. [`Git::fresh`] makes a repository that has nothing to hide.

mod changes;
mod describe;
mod fresh;
mod runner;
mod tree;

pub use describe::{Description, is_commit};
pub use runner::{Git, GitError};
pub use tree::WorkTree;

#[cfg(test)]
mod tests;
