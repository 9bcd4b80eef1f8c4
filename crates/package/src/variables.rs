//! `etc/conda/env_vars.d/*.json`: the variables that packages set. They become part of the image's configuration, which
//! registries limit to 4 MiB.

use pixi_oci_layer::{FileTree, Node};

use crate::{
    error::{Error, Refusal},
    prefix::TargetPrefix,
};

/// Of all such files of one package together. Real ones have some hundred bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Refuses a package whose `tree` has too much of them.
///
/// # Errors
/// They are longer than 64 KiB.
pub fn check_variables(package: &str, tree: &FileTree, prefix: &TargetPrefix) -> Result<(), Error> {
    let directory = format!("{}/etc/conda/env_vars.d/", prefix.tree_path());
    let mut left = MAX_BYTES;
    for (path, node) in tree.iter() {
        let (Some(_), Node::File(file)) = (path.as_str().strip_prefix(&directory), node) else { continue };
        left = match left.checked_sub(file.content.len()) {
            Some(left) => left,
            None => return Err(Error::path(package, path.as_str(), Refusal::EnvVars)),
        };
    }
    Ok(())
}
