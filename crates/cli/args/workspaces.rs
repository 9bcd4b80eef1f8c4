//! Several workspaces on one command line.

use std::path::{Path, PathBuf};

use clap::Args;
use globset::GlobBuilder;
use ignore::WalkBuilder;
use pixi_oci_workspace::is_workspace;

use super::Selection;
use crate::error::CliError;

/// More workspaces than one.
#[derive(Debug, Default, Args)]
pub struct Workspaces {
    /// More workspaces, one after another.
    #[arg(value_name = "MORE")]
    more: Vec<PathBuf>,
    /// Every workspace below the current directory whose directory fits, e.g. 'services/*' or 'images/**'; those that
    /// git ignores do not count. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    workspace_glob: Vec<String>,
}

impl Workspaces {
    /// Whether this asks for a list, though it may have one element only.
    pub fn are_many(&self) -> bool {
        !self.more.is_empty() || !self.workspace_glob.is_empty()
    }

    /// All of them, in the order given, those of patterns by name, each once.
    pub fn all(&self, selection: &Selection) -> Result<Vec<PathBuf>, CliError> {
        let mut all: Vec<PathBuf> = Vec::new();
        // Without patterns there is always one: the current directory.
        if self.workspace_glob.is_empty() || selection.workspace.is_named() {
            all.push(selection.workspace.path());
        }
        all.extend(self.more.iter().cloned());
        for pattern in &self.workspace_glob {
            all.extend(found(pattern, Path::new("."))?);
        }
        let mut once: Vec<PathBuf> = Vec::new();
        for path in all {
            if !once.contains(&path) {
                once.push(path);
            }
        }
        Ok(once)
    }
}

/// The workspaces below `root` that fit, relative to it.
fn found(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, CliError> {
    let text = pattern.trim_start_matches("./").trim_end_matches('/');
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|error| CliError::Usage(format!("--workspace-glob: {error}")))?.compile_matcher();
    let mut walk = WalkBuilder::new(root);
    // What is found must not depend on whose machine it is.
    walk.git_global(false).require_git(false).parents(false).sort_by_file_path(Ord::cmp);
    // The walk opens them; a named pipe would wait for ever.
    let is_special = |directory: &Path| {
        let mut files = [".gitignore", ".ignore", ".git/info/exclude"].iter().map(|name| directory.join(name));
        files.any(|file| file.metadata().is_ok_and(|metadata| !metadata.is_file()))
    };
    if is_special(root) {
        return Err(CliError::Usage(format!("an ignore file of {} is not a regular file", root.display())));
    }
    walk.filter_entry(move |entry| !is_special(entry.path()));
    let mut found = Vec::new();
    for entry in walk.build() {
        let entry = entry.map_err(|error| CliError::Usage(format!("--workspace-glob {pattern}: {error}")))?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if entry.file_type().is_some_and(|kind| kind.is_dir()) && glob.is_match(path) && is_workspace(entry.path()) {
            found.push(path.to_owned());
        }
    }
    if found.is_empty() {
        return Err(CliError::Usage(format!("--workspace-glob {pattern}: no directory with a workspace fits")));
    }
    Ok(found)
}
