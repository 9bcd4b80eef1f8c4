use std::{fs::File, os::unix::fs::MetadataExt};

use pixi_oci_layer::{DiffId, Layer};
use pixi_oci_package::TargetPrefix;
use tempfile::TempDir;

use super::*;
use crate::{layers::key::KeyPackage, stock::table::Findings};

struct World {
    directory: TempDir,
    layout: OciLayout,
    cache: LayerCache,
}

impl World {
    fn new(limit: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let layout = OciLayout::open(&directory.path().join("layout")).unwrap();
        let cache = LayerCache::open(&Root::new(directory.path().join("cache")), limit, false);
        Self { directory, layout, cache }
    }

    /// Makes a layer in the layout and keeps it.
    fn keep(&self, name: &str, bytes: &[u8]) -> LayerRecord {
        let layer = Layer {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            diff_id: DiffId(Digest::of(name.as_bytes())),
            tar_size: 7,
            compression: Compression::default(),
        };
        let blob = self.layout.blob_path(&layer.digest);
        fs::write(&blob, bytes).unwrap();
        let record = LayerRecord::new(&layer, &Findings::default());
        self.cache.put(&key(name), &record, &blob, false);
        record
    }

    fn take(&self, name: &str, layout: &OciLayout) -> Option<LayerRecord> {
        let record = self.cache.find(&key(name))?;
        self.cache.take(&key(name), &record, Compression::default(), layout).unwrap().then_some(record)
    }

    fn other(&self, name: &str) -> OciLayout {
        OciLayout::open(&self.directory.path().join(name)).unwrap()
    }

    fn files(&self) -> usize {
        let all = |what| files_below(&self.cache.directory.join(what)).unwrap();
        let is_note = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "note");
        all("records").len() + all("blobs").iter().filter(|path| !is_note(path)).count()
    }
}

fn key(name: &str) -> LayerKey {
    let package =
        KeyPackage { sha256: name.into(), url: None, subdir: None, channel: None, python: None, changes: &[] };
    LayerKey::new(&[package], None, &TargetPrefix::new("/opt/pixi/env").unwrap(), Compression::default())
}

#[test]
fn a_layer_that_was_kept_is_in_the_next_layout_without_a_copy() {
    let world = World::new(1 << 20);
    let record = world.keep("a", b"layer a");
    let next = world.other("next");
    assert_eq!(world.take("a", &next), Some(record.clone()));
    let inode = |layout: &OciLayout| fs::metadata(layout.blob_path(&record.digest)).unwrap().ino();
    assert_eq!(inode(&next), inode(&world.layout));
    assert_eq!(world.take("b", &next), None);
    fs::remove_file(world.cache.blob(&record.digest)).unwrap();
    assert!(!world.cache.take(&key("a"), &record, Compression::default(), &world.other("another")).unwrap());
}

#[test]
fn a_blob_that_was_written_to_or_replaced_counts_for_nothing() {
    let world = World::new(1 << 20);
    let record = world.keep("a", b"layer a");
    let blob = world.cache.blob(&record.digest);
    let before = fs::metadata(&blob).unwrap().modified().unwrap();
    fs::write(&blob, b"layer b").unwrap();
    // Whoever hides the time of the change cannot hide that of this.
    File::options().append(true).open(&blob).unwrap().set_modified(before).unwrap();
    assert_eq!(world.cache.find(&key("a")), None);
    // Made again, it is there again.
    fs::remove_file(world.layout.blob_path(&record.digest)).unwrap();
    world.keep("a", b"layer a");
    assert_eq!(world.cache.find(&key("a")), Some(record.clone()));
    fs::write(world.cache.record(&key("a")), "{").unwrap();
    assert_eq!(world.cache.find(&key("a")), None);
    fs::remove_file(&blob).unwrap();
    assert_eq!(world.cache.find(&key("a")), None);
}

#[test]
fn a_fetched_layer_counts_only_where_images_were_named() {
    let world = World::new(1 << 20);
    let record = world.keep("a", b"layer a");
    world.cache.put(&key("a"), &record, &world.layout.blob_path(&record.digest), true);
    assert_eq!(world.cache.find(&key("a")), None);
    let named = LayerCache { takes_fetched: true, ..world.cache.clone() };
    assert_eq!(named.find(&key("a")), Some(record.clone()));
    // Made here, it counts for all.
    world.keep("a", b"layer a");
    assert_eq!(world.cache.find(&key("a")), Some(record));
}

#[test]
fn links_are_no_changes_of_a_blob() {
    let world = World::new(1 << 20);
    let record = world.keep("a", b"layer a");
    world.take("a", &world.other("next")).unwrap();
    fs::remove_dir_all(world.directory.path().join("next")).unwrap();
    let World { directory, cache, layout } = world;
    let (root, blob) = (cache.root.clone(), cache.blob(&record.digest));
    drop((cache, layout));
    let known = Blobs::new(&root, root.join(PLACE).join("blobs"))
        .find(&blob, &record.digest.hex(), |_| panic!("it is hashed again"))
        .unwrap();
    assert_eq!(known.map(|known| known.size), Some(7));
    drop(directory);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let world = World::new(25);
    for (age, name) in ["a", "b", "c"].into_iter().enumerate() {
        world.keep(name, format!("layer {name}...").as_bytes());
        let record = File::options().append(true).open(world.cache.record(&key(name))).unwrap();
        record.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64)).unwrap();
    }
    world.take("a", &world.other("next")).unwrap();
    world.cache.trim();
    let left = ["a", "b", "c"].map(|name| world.cache.find(&key(name)).is_some());
    assert_eq!(left, [true, false, true]);
    assert_eq!(world.files(), 4);
}

#[test]
fn what_a_killed_build_left_is_removed() {
    let world = World::new(1 << 20);
    let record = world.keep("a", b"layer a");
    world.keep("b", b"layer b");
    // Killed between blob and record, and in the middle of each.
    fs::remove_file(world.cache.record(&key("b"))).unwrap();
    fs::write(world.cache.directory.join(".new-blob"), "lay").unwrap();
    fs::write(world.cache.record(&key("a")).with_file_name(".new-record"), "{").unwrap();
    world.cache.trim();
    assert_eq!(world.files(), 2);
    assert!(!world.cache.directory.join(".new-blob").exists());
    assert_eq!(world.cache.find(&key("a")), Some(record));
}

#[test]
fn builds_and_trims_beside_one_another_lose_no_blob_that_a_record_names() {
    let world = World::new(1 << 20);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let next = world.other(&format!("next-{worker}"));
                for round in 0..50 {
                    let name = format!("{}", (worker + round) % 7);
                    if world.take(&name, &next).is_none() {
                        world.keep(&name, name.as_bytes());
                    }
                    world.cache.trim();
                }
            });
        }
    });
    for name in 0..7 {
        assert!(world.cache.find(&key(&name.to_string())).is_some());
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_only_empty() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("layers"), "").unwrap();
    let world = World { cache: LayerCache::open(&Root::new(directory.path()), 1 << 20, false), ..World::new(0) };
    world.keep("a", b"layer a");
    world.cache.trim();
    assert_eq!(world.cache.find(&key("a")), None);
}
