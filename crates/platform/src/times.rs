//! Times that the standard library cannot set.

use std::{io, path::Path};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

/// Sets the times of a symbolic link itself.
pub fn set_link_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives a file the present as its time of modification, as the file system has it.
///
/// # Errors
///
/// There is none, or it is somebody else's.
pub fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    #[test]
    fn a_link_has_a_time_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("nowhere", &link).unwrap();
        set_link_time(&link, 86_400).unwrap();
        assert_eq!(fs::symlink_metadata(&link).unwrap().mtime(), 86_400);
        touch(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().mtime() > 1 << 30);
    }
}
