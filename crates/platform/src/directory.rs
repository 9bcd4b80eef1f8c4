//! Directories that change places.

use std::{io, path::Path};

/// Lets two paths change places in one step, so that at every moment something whole is at each.
///
/// # Errors
///
/// [`io::ErrorKind::NotFound`] where one is missing; [`io::ErrorKind::Unsupported`] where the file system or the operating
/// system cannot.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|error| match error {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => io::ErrorKind::Unsupported.into(),
        error => error.into(),
    })
}

/// Lets two paths change places.
///
/// # Errors
///
/// Always: this system cannot.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn directories_change_places() {
        let parent = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| parent.path().join(name));
        fs::create_dir(&one).unwrap();
        assert_eq!(exchange(&one, &other).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(other.join("below")).unwrap();
        match exchange(&one, &other) {
            Ok(()) => assert!(one.join("below").exists() && !other.join("below").exists()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
    }
}
