//! What sessions leave whose machine went down, or whose janitor was killed, too.
//!
//! A session holds a lock on a file in its directory, which the kernel drops when the process ends. A directory whose lock is
//! free is nobody's.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pixi_oci_cachedir::{LOCK, remove_content};
use pixi_oci_platform::{Links, open, open_lock};

use crate::Podman;

/// Begins the names of sessions' directories.
pub(crate) const PREFIX: &str = "pixi-oci-run-";
/// Begins the names of podman's run roots that are elsewhere.
pub(crate) const RUNROOT: &str = "pixi-oci-r-";
/// Where there is room for a run root with a short path.
pub(crate) const SHORT_SCRATCH: &str = "/tmp";

/// Marks a directory as in use, as long as the file is open.
pub(crate) fn hold(directory: &Path) -> io::Result<File> {
    let lock = open_lock(&directory.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// The directories in `scratch` that the user `uid` has from sessions that are no more.
pub(crate) fn abandoned(scratch: &Path, uid: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(scratch).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    let paths = ours.map(|entry| entry.path());
    paths.filter(|path| is_directory_of(path, uid) && is_free(path)).collect()
}

/// Anybody may make directories with such names where everybody may write.
fn is_directory_of(path: &Path, uid: u32) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid)
}

/// One without the file is being made just now, or not of ours.
fn is_free(directory: &Path) -> bool {
    open(&directory.join(LOCK), Links::Refuse).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Removes a directory that nobody has. Files of containers belong to subordinate users, so podman's user namespace is
/// needed; where podman is root's, its storage may still be mounted on itself.
pub(crate) fn remove(directory: &Path, podman: &Podman) {
    if let Some(runroot) = runroot_of(directory) {
        let _ = std::fs::remove_dir_all(runroot);
    }
    let mut left = remove_content(directory);
    if !left.is_empty() {
        let quiet = |command: &mut Command| {
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        quiet(podman.command().args(["unshare", "rm", "-rf"]).args(&left));
        quiet(Command::new("umount").arg(directory.join("storage/overlay")));
        left = remove_content(directory);
    }
    // The lock goes last: a directory without it is not taken for a session's, and would stay.
    if left.is_empty() {
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// The run root of a session that is in another directory, and belongs to the same user.
fn runroot_of(directory: &Path) -> Option<PathBuf> {
    let runroot = std::fs::read_link(directory.join("runroot")).ok()?;
    let ours = runroot.parent() == Some(Path::new(SHORT_SCRATCH))
        && runroot.file_name()?.to_str()?.starts_with(RUNROOT)
        && is_directory_of(&runroot, std::fs::metadata(directory).ok()?.uid());
    ours.then_some(runroot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_root_elsewhere_goes_with_its_session() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |prefix: &str| {
            let made = tempfile::Builder::new().prefix(prefix).tempdir_in(SHORT_SCRATCH).unwrap();
            let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch.path()).unwrap().keep();
            std::os::unix::fs::symlink(made.path(), directory.join("runroot")).unwrap();
            remove(&directory, &Podman::new("podman".into()));
            assert!(!directory.exists());
            let left = made.path().exists();
            let _ = made.close();
            left
        };
        assert!(!make(RUNROOT));
        // Whatever else a link names stays.
        assert!(make("another-"));
    }

    #[test]
    fn the_lock_goes_last() {
        let directory = tempfile::tempdir().unwrap();
        drop(hold(directory.path()).unwrap());
        std::fs::create_dir_all(directory.path().join("storage/overlay")).unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.path().join("runroot")).unwrap();
        // Who is killed here has left what is still abandoned.
        assert_eq!(remove_content(directory.path()), Vec::<PathBuf>::new());
        assert!(is_free(directory.path()));
        remove(directory.path(), &Podman::new("podman".into()));
        assert!(!directory.path().exists());
    }

    #[test]
    fn only_what_nobody_holds_is_abandoned() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let dead = make("pixi-oci-run-dead");
        drop(hold(&dead).unwrap());
        let _held = hold(&make("pixi-oci-run-live")).unwrap();
        make("pixi-oci-run-new");
        drop(hold(&make("another")).unwrap());
        std::os::unix::fs::symlink(&dead, scratch.path().join("pixi-oci-run-link")).unwrap();
        let uid = std::fs::metadata(&dead).unwrap().uid();
        assert_eq!(abandoned(scratch.path(), uid), [dead]);
        assert_eq!(abandoned(scratch.path(), uid + 1), Vec::<PathBuf>::new());
    }
}
