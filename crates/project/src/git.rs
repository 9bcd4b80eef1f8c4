//! Where a workspace comes from.

use std::path::Path;

use pixi_oci_git::Git;

/// The commit of `HEAD`, 40 or 64 hexadecimal digits; with `-dirty` unless the working tree is known to be that commit's. What
/// git does not say is left out: annotations are no reason to fail a build.
pub fn revision(workspace: &Path) -> Option<String> {
    let git = Git::at(workspace);
    let commit = git.commit()?;
    let clean = git.tree().is_ok_and(|tree| tree.is_clean());
    Some(if clean { commit } else { format!("{commit}-dirty") })
}
