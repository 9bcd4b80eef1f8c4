//! A directory that is made beside its place, and gets there in one step.
//!
//! The new directory and the old one change places in one system call, so at every moment one of them is there, whole. What
//! a killed process leaves is removed by who comes next ([`StagedDirectory`]).

use std::{
    io,
    path::{Path, PathBuf},
};

use pixi_oci_cachedir::StagedDirectory;
use pixi_oci_platform::exchange;

use crate::Error;

/// How the names of directories begin in which something is made.
const PREFIX: &str = ".pixi-oci-new-";
const NEW: &str = "new";

#[derive(Debug)]
pub struct Staging {
    to: PathBuf,
    new: PathBuf,
    directory: StagedDirectory,
}

impl Staging {
    /// Prepares a directory that is going to be `to`.
    pub fn beside(to: &Path) -> Result<Self, Error> {
        let to = std::path::absolute(to).map_err(Error::io("find", to))?;
        let parent = to.parent().unwrap_or(Path::new("/")).to_path_buf();
        fs_err::create_dir_all(&parent).map_err(Error::io("make", &parent))?;
        let failed = || Error::io("make a temporary directory in", &parent);
        let directory = StagedDirectory::new(&parent, PREFIX).map_err(failed())?;
        let new = directory.path().join(NEW);
        fs_err::create_dir(&new).map_err(failed())?;
        Ok(Self { to, new, directory })
    }

    pub fn path(&self) -> &Path {
        &self.new
    }

    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Puts it to its place. What was there is removed.
    ///
    /// # Errors
    /// The disk fails; then what was there still is.
    pub fn replace(self) -> Result<PathBuf, Error> {
        match exchange(&self.new, &self.to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs_err::rename(&self.new, &self.to).map_err(Error::io("write", &self.to))?;
            }
            // File systems that cannot exchange: for a moment there is neither.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let old = self.directory.path().join("old");
                fs_err::rename(&self.to, old)
                    .and_then(|()| fs_err::rename(&self.new, &self.to))
                    .map_err(Error::io("write", &self.to))?;
            }
            Err(error) => return Err(Error::io("write", &self.to)(error)),
        }
        Ok(self.to.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_takes_the_place_of_the_old_and_nothing_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let to = parent.path().join("product");
        for text in ["one", "two"] {
            let staging = Staging::beside(&to).unwrap();
            fs_err::write(staging.path().join(text), text).unwrap();
            staging.replace().unwrap();
            let names: Vec<_> = fs_err::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, [text]);
        }
        assert_eq!(fs_err::read_dir(parent.path()).unwrap().count(), 1);
    }
}
