//! The files of a locked commit, by the host's git.

use std::path::Path;

use pixi_oci_git::{Git, GitError, is_commit};
use pixi_oci_layer::{ContentStore, FileTree};
use pixi_oci_net::redact;
use pixi_oci_package::source_tree;
use url::Url;

use super::BuildError;
use crate::SourceError;

/// Gets the files of the commit that `url` (`git+https://HOST/REPO?subdirectory=DIR#COMMIT`) names, and the directory of
/// the project in them. `scratch` is an empty directory.
///
/// Nothing of the repository runs: no hooks, no filters, no submodules; and only https, ssh and file are spoken.
pub fn git_tree(
    package: &str,
    url: &Url,
    scratch: &Path,
    store: &mut ContentStore,
) -> Result<(FileTree, String), SourceError> {
    let project = |reason: String| BuildError::Project { package: package.to_owned(), reason };
    let commit = url.fragment().unwrap_or_default().to_ascii_lowercase();
    if !is_commit(&commit) {
        return Err(project("the lock file does not name a whole commit; run `pixi lock`".into()).into());
    }
    let directory = url.query_pairs().find(|(key, _)| key == "subdirectory").map(|(_, value)| value.into_owned());
    let mut repository = url.as_str().trim_start_matches("git+").to_owned();
    repository.truncate(repository.find(['?', '#']).unwrap_or(repository.len()));
    let runner = Git::own(scratch);
    let git = |arguments: &[&str]| {
        runner.run(arguments).map_err(|GitError { said, .. }| {
            // git repeats addresses, with what is secret in them.
            let words = said.split_whitespace();
            let words = words.map(|word| if word.contains("://") { redact(word) } else { word.to_owned() });
            BuildError::Git {
                package: package.to_owned(),
                commit: commit.clone(),
                url: redact(url.as_str()),
                said: words.collect::<Vec<_>>().join(" "),
            }
        })
    };
    git(&["init", "--quiet", "--bare", "."])?;
    // Servers need not give single commits: then everything is fetched.
    let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    let one = [&fetch[..], &["--depth", "1", "--", &repository, &commit]].concat();
    let all = [&fetch[..], &["--", &repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]].concat();
    git(&one).or_else(|_| git(&all))?;
    if git(&["cat-file", "-e", &format!("{commit}:.gitmodules")]).is_ok() {
        return Err(project("its repository has submodules, which are not fetched".into()).into());
    }
    git(&["archive", "--format=tar.gz", "--prefix=source/", "--output=source.tar.gz", &commit])?;
    let tree = source_tree(&scratch.join("source.tar.gz"), &format!("{package} at {commit}"), store)?;
    Ok((tree, directory.unwrap_or_default()))
}
