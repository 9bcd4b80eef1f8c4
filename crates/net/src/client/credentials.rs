//! Logins from files: rattler's JSON and netrc.
//!
//! The desktop's keyring is not asked: its library needs D-Bus, and builds run where there is none. Messages never have a
//! file's content.

use std::{path::Path, sync::Arc};

use rattler_networking::{
    AuthenticationStorage,
    authentication_storage::backends::{
        file::{FileStorage, FileStorageError},
        netrc::{NetRcStorage, NetRcStorageError},
    },
};

use crate::{CredentialFiles, Error};

/// The storage that knows these files, in their order.
pub(super) fn storage(files: &CredentialFiles) -> Result<AuthenticationStorage, Error> {
    let mut storage = AuthenticationStorage::empty();
    for path in &files.rattler {
        let backend = FileStorage::from_path(path.clone()).map_err(|error| match error {
            FileStorageError::IOError(source) => unreadable(path, source),
            FileStorageError::JSONError(_, error) => malformed(
                path,
                &format!(
                    "line {}, column {}: it is not JSON that `pixi auth login` writes",
                    error.line(),
                    error.column()
                ),
            ),
        })?;
        storage.add_backend(Arc::new(backend));
    }
    if let Some(path) = &files.netrc {
        match NetRcStorage::from_path(path) {
            Ok(backend) => storage.add_backend(Arc::new(backend)),
            Err(NetRcStorageError::IOError(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(NetRcStorageError::IOError(source)) => return Err(unreadable(path, source)),
            Err(_) => return Err(malformed(path, "it is not in the form of netrc(5)")),
        }
    }
    Ok(storage)
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "read the logins in", path: path.to_owned(), source }
}

fn malformed(path: &Path, message: &str) -> Error {
    Error::Client { message: format!("the logins in {} cannot be used: {message}", path.display()) }
}
