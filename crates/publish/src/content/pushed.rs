//! Which blobs this machine has sent to which repositories, so that a registry can be asked to link them.
//!
//! Nothing is believed because of it: what a registry does not link is sent as if it had not been asked. So an entry that
//! is wrong costs a request, and one that is lost, because two programs wrote at once, the sending of a blob.
//!
//! It is `pushed/2/ab/abcdef….json` in the directory of the caches, by the registry's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use pixi_oci_cachedir::{Root, sharded};
use pixi_oci_layer::Digest;
use pixi_oci_registry::{Repository, push::MountFrom};
use serde::{Deserialize, Serialize};

/// Raised when the form changes; what was written before is then forgotten.
const VERSION: &str = "2";
/// The repositories of a registry that are remembered: those that were published to last.
const MAX_REPOSITORIES: usize = 1000;
/// The blobs of a repository that are remembered: those of the images that were published last.
const MAX_BLOBS: usize = 1000;
/// Those of a registry.
const MAX_OF_HOST: usize = 32_000;
/// A blob is remembered in so many repositories, of which one may be that which needs it.
const MAX_PLACES: usize = 2;
/// All of these are shorter.
const MAX_BYTES: u64 = 8 << 20;

/// What was sent. Any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct Pushed {
    root: Root,
    directory: PathBuf,
}

/// What was sent to a registry; what was sent last comes first.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Host {
    repositories: Vec<PushedBlobs>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PushedBlobs {
    path: String,
    blobs: Vec<Digest>,
}

impl Host {
    /// Keeps what a fleet of images needs: each blob in the repositories that it was sent to last, so that what all share does
    /// not displace what each has of its own.
    fn forget(&mut self) {
        let (mut places, mut left) = (BTreeMap::<Digest, usize>::new(), MAX_OF_HOST);
        for entry in &mut self.repositories {
            entry.blobs.retain(|blob| {
                let place = places.entry(*blob).or_default();
                *place += 1;
                *place <= MAX_PLACES
            });
            entry.blobs.truncate(left);
            left -= entry.blobs.len();
        }
        self.repositories.retain(|entry| !entry.blobs.is_empty());
        self.repositories.truncate(MAX_REPOSITORIES);
    }
}

impl Pushed {
    /// What is remembered in a directory, which need not exist.
    pub fn open(root: &Root) -> Self {
        Self { root: root.clone(), directory: root.join("pushed").join(VERSION) }
    }

    /// Remembers that a repository has these blobs, if that is possible.
    pub fn put(&self, repository: &Repository, blobs: &[Digest]) {
        let mut host = self.host(repository);
        let (path, mut all) = (repository.path(), blobs.to_vec());
        let known: BTreeSet<&Digest> = blobs.iter().collect();
        if let Some(at) = host.repositories.iter().position(|entry| entry.path == path) {
            let before = host.repositories.remove(at).blobs;
            all.extend(before.into_iter().filter(|blob| !known.contains(blob)));
        }
        all.truncate(MAX_BLOBS);
        host.repositories.insert(0, PushedBlobs { path: path.to_owned(), blobs: all });
        host.forget();
        // A cache that cannot be written only costs time.
        let _ = self.root.write(&self.file(repository), &host);
    }

    /// From which other repositories of the same registry these blobs may be linked: each from the one to which it was
    /// sent last.
    pub fn mount_from(&self, repository: &Repository, blobs: &[Digest]) -> Vec<MountFrom> {
        let mut wanted: BTreeSet<&Digest> = blobs.iter().collect();
        let mut found: BTreeMap<usize, BTreeSet<Digest>> = BTreeMap::new();
        let host = self.host(repository);
        let others = || host.repositories.iter().enumerate().filter(|(_, entry)| entry.path != repository.path());
        for (index, entry) in others() {
            for blob in entry.blobs.iter().filter(|blob| wanted.remove(blob)) {
                found.entry(index).or_default().insert(*blob);
            }
        }
        let from =
            |(index, blobs): (usize, _)| MountFrom { path: host.repositories[index].path.clone(), blobs: Some(blobs) };
        found.into_iter().map(from).collect()
    }

    /// The blobs that were sent to a repository or to others of the same registry.
    pub fn at_registry(&self, repository: &Repository) -> BTreeSet<Digest> {
        self.host(repository).repositories.into_iter().flat_map(|entry| entry.blobs).collect()
    }

    fn host(&self, repository: &Repository) -> Host {
        let mut host: Host = self.root.read(&self.file(repository), MAX_BYTES).unwrap_or_default();
        // The path goes into a request, as everything of a repository does.
        host.repositories.retain(|entry| Repository::new(repository.host(), &entry.path).is_ok());
        host
    }

    /// A registry's name may have a port and be longer than a file's.
    fn file(&self, repository: &Repository) -> PathBuf {
        sharded(&self.directory, &Digest::of(repository.host().as_bytes()).hex(), ".json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(path: &str) -> Repository {
        Repository::new("r.example:5000", path).unwrap()
    }

    fn blobs(range: std::ops::Range<usize>) -> Vec<Digest> {
        range.map(|n| Digest::of(&n.to_le_bytes())).collect()
    }

    #[test]
    fn a_blob_is_linked_from_where_it_was_sent_last() {
        let directory = tempfile::tempdir().unwrap();
        let pushed = Pushed::open(&Root::new(directory.path()));
        pushed.put(&repository("a"), &blobs(0..4));
        pushed.put(&repository("b"), &blobs(2..6));
        let from = |path: &str, range| -> Vec<(String, usize)> {
            let from = pushed.mount_from(&repository(path), &blobs(range));
            from.into_iter().map(|from| (from.path, from.blobs.unwrap().len())).collect()
        };
        assert_eq!(from("c", 0..9), [("b".to_owned(), 4), ("a".to_owned(), 2)]);
        assert_eq!(from("b", 0..9), [("a".to_owned(), 4)]);
        assert_eq!(from("c", 7..9), []);
        assert_eq!(pushed.mount_from(&Repository::new("other.example", "c").unwrap(), &blobs(0..9)), []);
    }

    /// What all images share is linked from the last of them, and what one has of its own is known still.
    #[test]
    fn a_fleet_is_remembered_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let pushed = Pushed::open(&Root::new(directory.path()));
        for n in 0..120 {
            pushed.put(&repository(&format!("r{n}")), &[blobs(0..400), blobs(1000 + n..1001 + n)].concat());
        }
        assert_eq!(pushed.at_registry(&repository("x")).len(), 400 + 120);
        let from = |path: &str| -> Vec<String> {
            let from = pushed.mount_from(&repository(path), &[blobs(0..400), blobs(1000..1001)].concat());
            from.into_iter().map(|from| from.path).collect()
        };
        assert_eq!((from("new"), from("r119")), (vec!["r119".into(), "r0".into()], vec!["r118".into(), "r0".into()]));
        let kept: usize = pushed.host(&repository("x")).repositories.iter().map(|entry| entry.blobs.len()).sum();
        assert_eq!(kept, MAX_PLACES * 400 + 120);
    }

    #[test]
    fn it_stays_small_and_forgets_what_is_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let pushed = Pushed::open(&Root::new(directory.path()));
        let many = |n: usize| PushedBlobs { path: format!("r{n}"), blobs: blobs(n..n + 1) };
        let host = Host { repositories: (0..MAX_REPOSITORIES).rev().map(many).collect() };
        pushed.root.write(&pushed.file(&repository("x")), &host).unwrap();
        pushed.put(&repository("last"), &blobs(500..500 + MAX_BLOBS));
        pushed.put(&repository("last"), &blobs(400..510));
        let host = pushed.host(&repository("x"));
        assert_eq!(host.repositories.len(), MAX_REPOSITORIES);
        assert!(host.repositories.iter().all(|entry| entry.path != "r0"));
        let last = &host.repositories[0].blobs;
        assert_eq!((last.len(), &last[..110]), (MAX_BLOBS, &blobs(400..510)[..]));
        assert!(last.contains(&blobs(510..511)[0]) && !last.contains(&blobs(500 + MAX_BLOBS - 1..500 + MAX_BLOBS)[0]));
    }

    #[test]
    fn what_is_damaged_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let pushed = Pushed::open(&Root::new(directory.path()));
        pushed.put(&repository("a"), &blobs(0..1));
        let file = pushed.file(&repository("a"));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"a\"", "\"../a?x=1\"")).unwrap();
        assert_eq!(pushed.mount_from(&repository("b"), &blobs(0..1)), []);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(pushed.mount_from(&repository("b"), &blobs(0..1)), []);
    }
}
