//! Small documents: a line with a checksum, then JSON.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use pixi_oci_platform::{Links, read};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{Root, staged_file};

/// How the names of documents in the making begin.
const PREFIX: &str = ".new-";
/// Hex digits and a line end.
const HEAD: usize = 65;

impl Root {
    /// The document at a path below the root, if it is there and whole. A damaged one is removed.
    pub fn read<T: DeserializeOwned>(&self, path: &Path, limit: u64) -> Option<T> {
        let found = match read(path, Links::Refuse, limit) {
            Ok(bytes) => self.parse(path, &bytes),
            // Too long, or not a regular file.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => None,
            Err(_) => return None,
        };
        if found.is_none() {
            self.damaged(path);
            let _ = fs::remove_file(path);
        }
        found
    }

    /// As [`Root::read`] of what nothing depends on: it is neither removed nor noted.
    pub(crate) fn read_quietly<T: DeserializeOwned>(&self, path: &Path, limit: u64) -> Option<T> {
        self.parse(path, &read(path, Links::Refuse, limit).ok()?)
    }

    /// Puts a document at a path below the root, in the place of what was there.
    pub fn write(&self, path: &Path, document: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(document)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = staged_file(directory, PREFIX)?;
        let mut bytes = self.checksum(path, &body).into_bytes();
        bytes.push(b'\n');
        bytes.extend(body);
        file.write_all(&bytes)?;
        self.grows();
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn parse<T: DeserializeOwned>(&self, path: &Path, bytes: &[u8]) -> Option<T> {
        let (head, body) = bytes.split_at_checked(HEAD)?;
        let sum = head.strip_suffix(b"\n")?;
        (sum == self.checksum(path, body).as_bytes()).then(|| serde_json::from_slice(body).ok())?
    }

    /// Of the content and the name: what has another's name is damaged, too.
    fn checksum(&self, path: &Path, body: &[u8]) -> String {
        let name = path.strip_prefix(self).unwrap_or(path);
        let mut hash = Sha256::new();
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update(b"\n");
        hash.update(body);
        hex::encode(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_document_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let path = root.join("a/b.json");
        assert_eq!(root.read::<Vec<u32>>(&path, 100), None);
        assert!(!root.grew());
        root.write(&path, &[1, 2]).unwrap();
        assert!(root.clone().grew() && !Root::new(directory.path()).grew());
        assert_eq!(root.read(&path, 100), Some(vec![1, 2]));
        let whole = fs::read(&path).unwrap();
        assert_eq!(root.take_damaged(), [] as [&Path; 0]);
        for at in 0..whole.len() {
            for change in [&|bytes: &mut Vec<u8>| bytes[at] ^= 1, &|bytes: &mut Vec<u8>| bytes.truncate(at)]
                as [&dyn Fn(&mut Vec<u8>); 2]
            {
                let mut bytes = whole.clone();
                change(&mut bytes);
                fs::write(&path, bytes).unwrap();
                assert_eq!(root.read::<Vec<u32>>(&path, 100), None, "{at}");
                assert!(!path.exists());
            }
        }
        assert_eq!(root.take_damaged().len(), 2 * whole.len());
        fs::write(&path, &whole).unwrap();
        assert_eq!(root.read::<Vec<u32>>(&path, 69), None, "larger than the limit");
    }

    #[test]
    fn a_document_under_another_name_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path());
        let [one, other] = ["one", "other"].map(|name| root.join(name));
        root.write(&one, &1).unwrap();
        fs::rename(&one, &other).unwrap();
        assert_eq!(root.read::<u32>(&other, 100), None);
        // The whole cache may be somewhere else.
        root.write(&one, &1).unwrap();
        let moved = tempfile::tempdir().unwrap();
        fs::copy(&one, moved.path().join("one")).unwrap();
        assert_eq!(Root::new(moved.path()).read(&moved.path().join("one"), 100), Some(1));
    }
}
