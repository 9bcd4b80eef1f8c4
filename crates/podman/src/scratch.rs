//! A directory that goes away with this process.

use std::path::{Path, PathBuf};

use crate::{Error, janitor::Janitor};

/// A directory that is removed when this is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _janitor: Janitor,
}

impl Scratch {
    /// Makes an empty directory in another.
    pub fn new(parent: &Path) -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("pixi-oci-").tempdir_in(parent);
        let made = made.map_err(Error::io(format!("make a directory in {}", parent.display())))?;
        let janitor = Janitor::start(made.path(), None)?;
        Ok(Self { path: made.keep(), _janitor: janitor })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        let path = scratch.path().to_owned();
        std::fs::create_dir(path.join("below")).unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
