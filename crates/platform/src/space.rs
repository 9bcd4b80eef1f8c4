//! Space on a disk.

use std::{fs::File, io};

/// Reserves the space for a file that will have `size` bytes, so that a full disk shows before they are written. Its length
/// stays as it is. Where the file system cannot, nothing happens.
///
/// # Errors
///
/// The file system does not hold so much.
#[cfg(target_os = "linux")]
pub fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::{
        fs::{FallocateFlags, fallocate},
        io::Errno,
    };
    if i64::try_from(size).is_err() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    match if size == 0 { Ok(()) } else { fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) } {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Does nothing.
///
/// # Errors
///
/// None.
#[cfg(not(target_os = "linux"))]
pub fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_disk_holds_is_refused_at_once() {
        let file = tempfile::tempfile().unwrap();
        for too_much in [1 << 60, 1 << 63, u64::MAX] {
            let error = reserve(&file, too_much).unwrap_err();
            assert!(matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge), "{error:?}");
        }
        reserve(&file, 0).unwrap();
        reserve(&file, 1 << 20).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
