//! A repository for programs that insist on one: a commit, a tag, and nothing of any other repository.

use std::path::Path;

use crate::{Git, GitError};

/// Who commits, and when: the same for all, so that the same files give the same commit.
const IDENTITY: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "pixi-oci"),
    ("GIT_AUTHOR_EMAIL", "pixi-oci@localhost"),
    ("GIT_AUTHOR_DATE", "946684800 +0000"),
    ("GIT_COMMITTER_NAME", "pixi-oci"),
    ("GIT_COMMITTER_EMAIL", "pixi-oci@localhost"),
    ("GIT_COMMITTER_DATE", "946684800 +0000"),
];

impl Git {
    /// Makes the empty directory `repository` the git directory of one commit with these files of `directory`, given by
    /// their paths from it, and with a tag. It has no remote, no configuration but its format, and no hooks.
    pub fn fresh(repository: &Path, directory: &Path, paths: &[&str], tag: &str) -> Result<(), GitError> {
        let mut git = Self::own(repository);
        git.variables.extend(IDENTITY.map(|(name, value)| (name, value.into())));
        git.run(&["init", "--quiet", "--template=", "--initial-branch=main"])?;
        git.run(&["config", "core.bare", "false"])?;
        let list = repository.join("paths");
        let io = |error: std::io::Error| GitError {
            subcommand: "add".into(),
            directory: repository.to_owned(),
            said: error.to_string(),
        };
        fs_err::write(&list, paths.join("\0")).map_err(io)?;
        // git looks for a working tree beside its directory, and for paths from where it runs.
        let directory = fs_err::canonicalize(directory).map_err(io)?;
        let repository = fs_err::canonicalize(repository).map_err(io)?;
        let mut tree = git.in_directory(&directory);
        tree.variables.push(("GIT_DIR", repository.clone().into()));
        tree.variables.push(("GIT_WORK_TREE", directory.into()));
        let list = format!("--pathspec-from-file={}", repository.join("paths").display());
        tree.run(&["--literal-pathspecs", "add", "--force", "--pathspec-file-nul", &list])?;
        tree.run(&["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message=source"])?;
        tree.run(&["tag", "--no-sign", "--", tag])?;
        // An index without what the file system says of files, which would differ each time.
        let _ = fs_err::remove_file(repository.join("index"));
        tree.run(&["read-tree", "HEAD"])?;
        for file in ["paths", "COMMIT_EDITMSG", "logs", "description", "ORIG_HEAD"] {
            let path = repository.join(file);
            let _ = if path.is_dir() { fs_err::remove_dir_all(&path) } else { fs_err::remove_file(&path) };
        }
        Ok(())
    }
}
