//! Opening files that others may have made.
//!
//! Opening a named pipe waits for a writer, and opening a device may do anything. So nothing is opened but with
//! `O_NONBLOCK`, which means nothing to a regular file, and what turns out to be something else is refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Whether the last part of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As the user laid it out: configuration, workspaces, mounted secrets.
    Follow,
    /// Where others may write, or the tree is hostile.
    Refuse,
}

/// Opens a regular file to read it.
///
/// # Errors
///
/// Anything else than a regular file, with [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Path, links: Links) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path, links).map(|(file, _)| file)
}

/// Opens a file that is only locked, and makes it if there is none. Never follows a link.
///
/// # Errors
///
/// Anything else than a regular file.
pub fn open_lock(path: &Path) -> io::Result<File> {
    // For writing, because NFS gives an exclusive lock on nothing else.
    match open_with(OpenOptions::new().read(true).write(true).create(true), path, Links::Refuse).map(|(file, _)| file) {
        // A directory of others, where locks still say who uses it.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            open(path, Links::Refuse)
        }
        result => result,
    }
}

/// The bytes of a regular file.
///
/// # Errors
///
/// Anything else than a regular file; more than `limit` bytes, with [`io::ErrorKind::InvalidData`].
pub fn read(path: &Path, links: Links, limit: u64) -> io::Result<Vec<u8>> {
    let (file, len) = open_with(OpenOptions::new().read(true), path, links)?;
    let most = limit.saturating_add(1);
    // One byte more, in which the end is found.
    let expected = len.saturating_add(1).min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// As [`read`], for text.
pub fn read_text(path: &Path, links: Links, limit: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, links, limit)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// The file, and its length.
fn open_with(options: &mut OpenOptions, path: &Path, links: Links) -> io::Result<(File, u64)> {
    let flags = match links {
        Links::Follow => libc::O_NONBLOCK,
        Links::Refuse => libc::O_NONBLOCK | libc::O_NOFOLLOW,
    };
    let special = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let file = match options.custom_flags(flags | libc::O_NOCTTY).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) && links == Links::Refuse => {
            return Err(special("a symbolic link, where a regular file is expected"));
        }
        // A socket, or a pipe that is opened for writing and that nobody reads.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(special("not a regular file")),
        result => result?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(special("not a regular file"));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("pipe", at("link-to-pipe")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for links in [Links::Follow, Links::Refuse] {
            assert_eq!(read(&at("file"), links, 4).unwrap(), b"text");
            for special in [at("pipe"), at("link-to-pipe"), at("socket"), directory.path().into(), "/dev/zero".into()] {
                assert_eq!(open(&special, links).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{special:?}");
            }
        }
        assert_eq!(read(&at("link"), Links::Follow, 4).unwrap(), b"text");
        assert_eq!(open(&at("link"), Links::Refuse).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        for special in ["pipe", "link", "socket", "."] {
            assert!(open_lock(&at(special)).is_err(), "{special}");
        }
        open_lock(&at("new")).unwrap().lock().unwrap();
    }

    #[test]
    fn what_is_read_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path, Links::Follow, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, Links::Follow, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
