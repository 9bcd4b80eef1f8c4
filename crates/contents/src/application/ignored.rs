//! Which files of an included directory the workspace's ignore files leave out.

use std::{
    io,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pixi_oci_platform::{Links, read_text};

use super::{ApplicationError, dockerignore::DockerIgnore};

/// The files of a directory in which the walk looks for git's patterns.
const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];
/// At the root of the workspace; as with podman and buildah, the first that is there counts.
const DOCKER_FILES: [&str; 2] = [".containerignore", ".dockerignore"];
/// No real one is longer.
const MAX_DOCKER_FILE: u64 = 1 << 20;

/// An ignore file that cannot be opened without harm, such as a named pipe.
pub fn special_ignore_file(directory: &Path) -> Option<PathBuf> {
    let mut files = IGNORE_FILES.iter().map(|name| directory.join(name));
    files.find(|file| file.metadata().is_ok_and(|metadata| !metadata.is_file()))
}

/// The ignore files that are not below an included directory, for what is in it. They do not count for the directory itself,
/// which was asked for.
pub struct Ignored {
    root: PathBuf,
    /// From the workspace's root down.
    git: Vec<Gitignore>,
    docker: Option<DockerIgnore>,
    /// How many parts the path of the directory has.
    depth: usize,
}

impl Ignored {
    /// Reads those of the directory `start` below `root`.
    pub fn read(root: &Path, start: &str) -> Result<Self, ApplicationError> {
        let depth = Path::new(start).components().count();
        Ok(Self { root: root.to_owned(), git: git_files_above(root, start)?, docker: docker_file(root)?, depth })
    }

    /// Whether something at a path below the root is left out. The answer holds for all that is below a directory.
    pub fn leaves_out(&self, relative: &Path, is_directory: bool) -> bool {
        let path = self.root.join(relative);
        let mut matches = self.git.iter().rev().map(|file| file.matched(&path, is_directory));
        if matches.find(|matched| !matched.is_none()).is_some_and(|matched| matched.is_ignore()) {
            return true;
        }
        let (Some(docker), Some(relative)) = (&self.docker, relative.to_str()) else { return false };
        // A later `!` may bring back a file of a directory.
        docker.leaves_out(relative, self.depth) && !(is_directory && docker.has_exceptions())
    }
}

fn git_files_above(root: &Path, start: &str) -> Result<Vec<Gitignore>, ApplicationError> {
    let mut found = Vec::new();
    let mut directory = PathBuf::from(root);
    for part in Path::new(start).components() {
        for name in IGNORE_FILES {
            let file = directory.join(name);
            if file.is_file() {
                let mut builder = GitignoreBuilder::new(&directory);
                if let Some(error) = builder.add(file) {
                    return Err(error.into());
                }
                found.push(builder.build()?);
            }
        }
        directory.push(part);
    }
    Ok(found)
}

fn docker_file(root: &Path) -> Result<Option<DockerIgnore>, ApplicationError> {
    for path in DOCKER_FILES.map(|name| root.join(name)) {
        match read_text(&path, Links::Follow, MAX_DOCKER_FILE) {
            Ok(text) => {
                let wrong = |(line, pattern)| ApplicationError::DockerIgnore { path: path.clone(), line, pattern };
                return DockerIgnore::parse(&text).map(Some).map_err(wrong);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())).into());
            }
        }
    }
    Ok(None)
}
