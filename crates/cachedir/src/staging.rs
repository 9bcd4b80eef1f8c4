//! Files and directories in the making.
//!
//! They are made beside their place, in its file system, and get there by a rename. Who makes one holds a lock, which the
//! kernel drops when the process dies: so the remains of a killed process can be told from the work of a live one, with no
//! clock and no process ids.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use pixi_oci_platform::{Links, open, open_lock};
use tempfile::{NamedTempFile, TempDir};

/// Locked by who makes the directory that it is in. Comes first and goes last.
pub const LOCK: &str = "lock";

/// Creates a file in `directory` whose name starts with `prefix`. It is removed when it is dropped.
pub fn staged_file(directory: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    loop {
        // The finished file has the permissions of any new file; temporary files are private otherwise.
        let permissions = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().prefix(prefix).permissions(permissions).tempfile_in(directory)?;
        match lock(file.as_file()) {
            // File systems without locks: there nobody can take the lock to remove it, either.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            locked => locked?,
        }
        // Between creation and lock it looked like the remains of a dead process, and a sweep may have taken it.
        if is_at(file.as_file(), file.path())? {
            return Ok(file);
        }
    }
}

/// Removes the files that killed processes left in `directory` under `prefix`.
pub fn sweep_files(directory: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !begins(&entry, prefix) || !entry.file_type()?.is_file() {
            continue;
        }
        // Another sweep, or the writer's own end, may be faster. For writing, because NFS locks nothing else.
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        match file.try_lock() {
            Ok(()) => drop(fs::remove_file(entry.path())),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// A directory in the making. It is removed when it is dropped.
#[derive(Debug)]
pub struct StagedDirectory {
    directory: TempDir,
    _lock: File,
}

impl StagedDirectory {
    /// Makes a directory in `parent` whose name starts with `prefix`, and removes those that killed processes left there.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        sweep_directories(parent, prefix);
        loop {
            let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            let path = directory.path().join(LOCK);
            let lock = match open_lock(&path) {
                // A sweep took it for one of a killed process: it was not locked yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            lock.lock()?;
            if path.exists() {
                return Ok(Self { directory, _lock: lock });
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for StagedDirectory {
    /// The lock goes last, so that what a kill leaves can be told from what is in the making.
    fn drop(&mut self) {
        remove_content(self.directory.path());
    }
}

/// Removes what is in a directory but its [`LOCK`], which goes last: also who is killed at that leaves a directory that can be told from
/// those in the making. Gives what could not be removed.
pub fn remove_content(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name() != LOCK).filter(|entry| {
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            _ => fs::remove_file(entry.path()),
        };
        removed.is_err()
    });
    left.map(|entry| entry.path()).collect()
}

/// Removes what killed processes left in `parent`. What cannot be removed is somebody else's, or gone.
pub fn sweep_directories(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if begins(&entry, prefix) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match open(&entry.path().join(LOCK), Links::Refuse) {
                // Removed under its lock, so that an owner who gets the lock sees that it is gone.
                Ok(lock) if lock.try_lock().is_ok() => {
                    remove_content(&entry.path());
                    let _ = fs::remove_dir_all(entry.path());
                }
                Ok(_) => {}
                // Killed before it had a lock, or just being made: nothing is in it.
                Err(_) => drop(fs::remove_dir(entry.path())),
            }
        }
    }
}

/// Waits for the exclusive lock of an open file. It ends when the file is closed.
pub fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether `path` still is this open file, and not a later one or none.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn begins(entry: &fs::DirEntry, prefix: &str) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_files_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let live = staged_file(directory.path(), ".x-").unwrap();
        for name in [".x-dead", "foreign", ".y-other"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join(".x-directory")).unwrap();
        sweep_files(directory.path(), ".x-").unwrap();
        assert!(live.path().exists());
        assert!(!directory.path().join(".x-dead").exists());
        for kept in ["foreign", ".y-other", ".x-directory"] {
            assert!(directory.path().join(kept).exists(), "{kept}");
        }
    }

    #[test]
    fn a_sweep_beside_creation_takes_nothing_live() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let file = staged_file(directory.path(), ".x-").unwrap();
                        sweep_files(directory.path(), ".x-").unwrap();
                        assert!(file.path().exists());
                        let made = StagedDirectory::new(directory.path(), ".d-").unwrap();
                        assert!(made.path().join(LOCK).exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_dead_directories_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let live = StagedDirectory::new(parent.path(), ".x-").unwrap();
        let [dead, young, newer, pipe] = ["dead", "young", "newer", "pipe"].map(|name| {
            let path = parent.path().join(format!(".x-{name}"));
            fs::create_dir(&path).unwrap();
            path
        });
        fs::create_dir(dead.join("below")).unwrap();
        fs::write(dead.join("below/file"), "").unwrap();
        fs::write(dead.join("file"), "").unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        // A sweep that is killed between these leaves what the next one can remove.
        assert_eq!(remove_content(&dead), Vec::<PathBuf>::new());
        let left: Vec<_> = fs::read_dir(&dead).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
        fs::write(dead.join("file"), "").unwrap();
        // Killed before it had a lock, and before it had anything else.
        fs::write(young.join(LOCK), "").unwrap();
        // Somebody else's, where everybody may write.
        assert!(std::process::Command::new("mkfifo").arg(pipe.join(LOCK)).status().unwrap().success());
        let other = StagedDirectory::new(parent.path(), ".x-").unwrap();
        assert!(live.path().exists() && other.path().exists() && pipe.exists());
        assert!(![dead, young, newer].iter().any(|directory| directory.exists()));
    }
}
