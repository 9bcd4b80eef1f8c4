//! Files that are not finished yet.
//!
//! A file is written under a temporary name in the file system of its destination and gets its name by rename. Its
//! writer holds a lock on it; the kernel drops that lock when the writer dies. So whoever comes later can tell the
//! remains of a killed process from the work of a live one, with no clock and no process ids.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;

/// Creates a file in `dir` whose name starts with `prefix`. It is removed when it is dropped.
pub(crate) fn create(dir: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    loop {
        // The finished file has the permissions of any new file; temporary files are private otherwise.
        let permissions = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new().prefix(prefix).permissions(permissions).tempfile_in(dir)?;
        lock(file.as_file())?;
        // Between creation and lock it looked like the remains of a dead process, and `sweep` may have taken it.
        if is_at(file.as_file(), file.path())? {
            return Ok(file);
        }
    }
}

/// Removes what killed processes left in `dir` under `prefix`.
pub(crate) fn sweep(dir: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if !ours || !entry.file_type()?.is_file() {
            continue;
        }
        // Another sweep, or the writer's own end, may be faster. For writing, because NFS locks nothing else.
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        match file.try_lock() {
            Ok(()) => ignore_missing(fs::remove_file(entry.path()))?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for the exclusive lock of an open file. It ends when the file is closed.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether `path` still is this open file, and not a later one or none.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let live = create(dir.path(), ".x-").unwrap();
        for name in [".x-dead", "foreign", ".y-other"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join(".x-directory")).unwrap();
        sweep(dir.path(), ".x-").unwrap();
        assert!(live.path().exists());
        assert!(!dir.path().join(".x-dead").exists());
        for kept in ["foreign", ".y-other", ".x-directory"] {
            assert!(dir.path().join(kept).exists(), "{kept}");
        }
    }

    #[test]
    fn a_sweep_beside_creation_takes_nothing_live() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let file = create(dir.path(), ".x-").unwrap();
                        sweep(dir.path(), ".x-").unwrap();
                        assert!(file.path().exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
