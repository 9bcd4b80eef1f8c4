use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::*;

fn item(content: &[u8], size: Option<u64>) -> FetchItem {
    FetchItem {
        name: "p".to_owned(),
        location: ArchiveLocation::Path(PathBuf::from("/chan/p-1-0.conda")),
        sha256: Some(Sha256::from_bytes(rattler_digest::Sha256::digest(content).into())),
        md5: None,
        size,
    }
}

fn accepted(cache: &ArchiveCache, content: &[u8], item: &FetchItem) -> Result<CachedArchive, Error> {
    let mut incoming = cache.incoming(item).unwrap();
    incoming.write(content).unwrap();
    cache.accept(incoming, item)
}

fn fill(cache: &ArchiveCache, content: &[u8]) -> CachedArchive {
    accepted(cache, content, &item(content, Some(content.len() as u64))).unwrap()
}

#[test]
fn what_is_accepted_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    assert_eq!(cache.lookup(&item(b"x", None)).unwrap(), None);
    let archive = fill(&cache, b"x");
    let hex = archive.sha256.to_string();
    assert_eq!(archive.path, directory.path().join(format!("archives/{}/{hex}.conda", &hex[..2])));
    assert_eq!(
        ArchiveCache::open(&Root::new(directory.path())).unwrap().lookup(&item(b"x", Some(1))).unwrap(),
        Some(archive)
    );
    let error = cache.lookup(&item(b"x", Some(2))).unwrap_err().to_string();
    assert!(error.contains("has 1 bytes, the lock file says 2"), "{error}");
}

/// Where the lock file has no hash, a URL gives what it gave before; a file on this machine is read each time.
#[test]
fn a_url_without_a_hash_is_remembered_by_what_it_gave() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let url = |url: &str| ArchiveLocation::Url(url.parse().unwrap());
    let item = |location| FetchItem { sha256: None, location, ..item(b"", None) };
    let fetch = |location| accepted(&cache, b"wheel", &item(location)).unwrap();
    let remote = url("https://user:secret@h.example/w-1-py3-none-any.whl?token=secret");
    assert_eq!(cache.lookup(&item(remote.clone())).unwrap(), None);
    let archive = fetch(remote.clone());
    assert_eq!(cache.lookup(&item(remote.clone())).unwrap(), Some(archive.clone()));
    assert_eq!(cache.lookup(&item(url("https://h.example/w-1-py3-none-any.whl"))).unwrap(), None);
    std::fs::remove_file(&archive.path).unwrap();
    assert_eq!(cache.lookup(&item(remote)).unwrap(), None);
    for local in [url("file:///w-1-py3-none-any.whl"), ArchiveLocation::Path("/w-1-py3-none-any.whl".into())] {
        fetch(local.clone());
        assert_eq!(cache.lookup(&item(local)).unwrap(), None);
    }
}

#[test]
fn nothing_wrong_gets_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    assert!(matches!(accepted(&cache, b"y", &item(b"x", None)), Err(Error::Sha256Mismatch { .. })));
    assert_eq!(cache.lookup(&item(b"x", None)).unwrap(), None);
    assert_eq!(std::fs::read_dir(cache.tmp()).unwrap().count(), 0);
}

/// Without a sha256 the md5 counts, also of an archive that another lock file had the sha256 of.
#[test]
fn an_md5_is_looked_at_where_there_is_no_sha256() {
    const OF_X: &str = "9dd4e461268c8034f5c8564e155c67a6";
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let location = ArchiveLocation::Url("https://h.example/p-1-0.conda".parse().unwrap());
    let by_md5 =
        |md5: &str| FetchItem { sha256: None, md5: Some(md5.into()), location: location.clone(), ..item(b"", None) };
    let unnamed = FetchItem { md5: None, ..by_md5("") };
    fill(&cache, b"x");
    accepted(&cache, b"x", &unnamed).unwrap();
    assert!(cache.lookup(&unnamed).unwrap().is_some());
    // Its md5 was not asked for when it came.
    assert_eq!(cache.lookup(&by_md5(OF_X)).unwrap(), None);
    let wrong = "0".repeat(32);
    assert!(
        matches!(accepted(&cache, b"x", &by_md5(&wrong)), Err(Error::Md5Mismatch { actual, .. }) if actual == OF_X)
    );
    accepted(&cache, b"x", &by_md5(OF_X)).unwrap();
    assert!(cache.lookup(&by_md5(OF_X)).unwrap().is_some());
    assert!(matches!(cache.lookup(&by_md5(&wrong)), Err(Error::Md5Mismatch { .. })));
}

#[test]
fn a_changed_archive_is_hashed_again_and_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let archive = fill(&cache, b"good");

    // Touched, but not changed: still good, and remembered as such.
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    File::options().write(true).open(&archive.path).unwrap().set_modified(later).unwrap();
    assert!(cache.lookup(&item(b"good", None)).unwrap().is_some());
    let note = std::fs::read_to_string(note_path(&archive.path)).unwrap();
    assert!(note.contains("\"mtime\":[1,0]"), "{note}");

    std::fs::write(&archive.path, b"evil").unwrap();
    File::options().write(true).open(&archive.path).unwrap().set_modified(later).unwrap();
    assert_eq!(cache.lookup(&item(b"good", None)).unwrap(), None);
    assert!(!archive.path.exists());
    assert!(fill(&cache, b"good").path.exists());

    // A link is not an archive, wherever it points.
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&archive.path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &archive.path).unwrap();
    assert_eq!(cache.lookup(&item(b"good", None)).unwrap(), None);
    assert!(elsewhere.exists());
}

#[test]
fn abandoned_files_are_removed_and_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let abandoned = cache.tmp().join("abandoned");
    std::fs::write(&abandoned, b"half").unwrap();
    let incoming = cache.incoming(&item(b"x", None)).unwrap();
    ArchiveCache::open(&Root::new(directory.path())).unwrap();
    assert!(!abandoned.exists());
    assert!(incoming.file.path().exists());
}

fn note_path(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.note", path.display()))
}

/// Writes when an archive was used last.
fn used(archive: &CachedArchive, days: u64) {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400 * days);
    File::options().append(true).open(note_path(&archive.path)).unwrap().set_modified(time).unwrap();
}

#[test]
fn the_archives_that_were_not_used_for_longest_go_first() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let [one, two, three] = [b"one..", b"two..", b"three"].map(|content| fill(&cache, content));
    (0..).zip([&one, &two, &three]).for_each(|(days, archive)| used(archive, days));
    // The oldest one is used again.
    assert!(cache.lookup(&item(b"one..", None)).unwrap().is_some());
    cache.trim(10);
    let there = [&one, &two, &three].map(|archive| (archive.path.exists(), note_path(&archive.path).exists()));
    assert_eq!(there, [(true, true), (false, false), (true, true)]);
    cache.trim(0);
    assert!(!one.path.exists() && !three.path.exists());
    assert_eq!(cache.lookup(&item(b"one..", None)).unwrap(), None);
}

#[test]
fn no_archive_is_removed_while_somebody_holds_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = ArchiveCache::open(&Root::new(directory.path())).unwrap();
    let archive = fill(&cache, b"x");
    let held = [cache.hold(), ArchiveCache::open(&Root::new(directory.path())).unwrap().hold()];
    cache.trim(0);
    assert!(archive.path.exists());
    let [first, second] = held;
    drop(first);
    cache.trim(0);
    assert!(archive.path.exists());
    drop(second);
    cache.trim(0);
    assert!(!archive.path.exists());
}
