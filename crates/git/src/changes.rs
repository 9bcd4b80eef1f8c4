//! What differs from an earlier commit.

use crate::{Git, GitError};

/// Why a commit is not there although it exists.
const SHALLOW: &str = "a shallow clone has too few commits (GitHub: `fetch-depth: 0` of actions/checkout, Woodpecker: \
                       `partial: false` and `depth` of the clone)";

impl Git {
    /// Whether files of a place differ from where the branch left `since`, in commits or in the working tree. `:/` is the whole
    /// repository. Files below `ours`, wherever that is, do not count.
    ///
    /// # Errors
    ///
    /// In words: there is no repository, or the commit is not there, as in a shallow clone.
    pub fn has_changed_since(&self, since: &str, place: &str, ours: &[&str]) -> Result<bool, String> {
        self.output(&["rev-parse", "--git-dir"]).map_err(said)?;
        // `--end-of-options`: a name must not become an option.
        let diff =
            ["diff", "--name-only", "--no-ext-diff", "--ignore-submodules=dirty", "--merge-base", "--end-of-options"];
        let ours: Vec<String> = ours.iter().map(|path| format!(":(top,exclude,glob)**/{path}/**")).collect();
        let files: Vec<&str> = ["--", place].into_iter().chain(ours.iter().map(String::as_str)).collect();
        let changed = self.output(&[&diff[..], &[since], &files].concat());
        if !changed.map_err(|error| format!("{}; {SHALLOW}", said(error)))?.is_empty() {
            return Ok(true);
        }
        let new = self.output(&[&["ls-files", "--others", "--exclude-standard"], &files[..]].concat()).map_err(said)?;
        Ok(!new.is_empty())
    }
}

/// The last line of git's complaint that says something.
fn said(error: GitError) -> String {
    error.said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed").to_owned()
}
