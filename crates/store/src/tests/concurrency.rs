//! Many builds, one layout: nothing is lost, and who is killed leaves nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use pixi_oci_image::{Architecture, Descriptor, MediaType};
use pixi_oci_registry::document::References;
use serde_json::Value;

use super::fixture::fixture;
use crate::{Destination, OciLayout, publish};

/// How the test below tells its child processes what to do.
const LAYOUT: &str = "PIXI_OCI_TEST_LAYOUT";
const NAME: &str = "PIXI_OCI_TEST_NAME";

fn write_images(dir: &Path, writer: &str, images: usize) {
    for image in 0..images {
        let fixture = fixture(&format!("{writer}-{image}"), &[Architecture::Amd64, Architecture::Arm64]);
        let layout = OciLayout::open(dir).unwrap();
        publish(&fixture.index, &fixture.blobs, &layout, Some(&format!("{writer}-{image}"))).unwrap();
    }
}

/// The names in the layout. Everything they lead to is there and hashes to its name.
fn check_layout(dir: &Path) -> BTreeSet<String> {
    let layout = OciLayout::open(dir).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let entry: oci_spec::image::Descriptor = serde_json::from_value(entry.clone()).unwrap();
        let mut open = vec![Descriptor::try_from(&entry).unwrap()];
        while let Some(next) = open.pop() {
            let bytes = fs::read(layout.blob_path(&next.digest)).unwrap();
            assert_eq!(
                Descriptor { annotations: next.annotations.clone(), ..Descriptor::of(next.media_type.clone(), &bytes) },
                next
            );
            if matches!(next.media_type, MediaType::ImageIndex | MediaType::ImageManifest) {
                open.extend(References::parse(&next, &bytes).unwrap().all().cloned());
            }
        }
    }
    let stray = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stray: Vec<String> = stray.filter(|name| !["blobs", "index.json", "oci-layout"].contains(&&**name)).collect();
    assert!(stray.is_empty(), "{stray:?}");
    for blob in fs::read_dir(dir.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let digest = pixi_oci_layer::Digest::of(&fs::read(blob.path()).unwrap());
        assert_eq!(blob.file_name().to_str().unwrap(), digest.hex(), "every file in blobs is whole");
    }
    names
}

#[test]
fn threads_lose_nothing_and_readers_see_whole_documents() {
    let dir = tempfile::tempdir().unwrap();
    let layout = &dir.path().join("new/layout");
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..8).map(|writer| scope.spawn(move || write_images(layout, &format!("writer{writer}"), 5))).collect();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let Ok(index) = fs::read(layout.join("index.json")) else { continue };
                serde_json::from_slice::<Value>(&index).unwrap();
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(check_layout(layout).len(), 40);
}

#[test]
fn one_tag_has_one_of_its_images() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let layout = &layout;
            scope.spawn(move || {
                let fixture = fixture(&format!("{writer}"), &[Architecture::Amd64]);
                publish(&fixture.index, &fixture.blobs, layout as &dyn Destination, Some("latest")).unwrap();
            });
        }
    });
    assert_eq!(check_layout(dir.path()), BTreeSet::from(["latest".to_owned()]));
}

/// Not a test by itself: one of the processes of [`processes_lose_nothing_though_one_is_killed`].
#[test]
#[ignore = "is run by another test, in processes of its own"]
#[expect(clippy::disallowed_methods, reason = "tests take no arguments")]
fn writer_process() {
    let (Some(layout), Ok(name)) = (std::env::var_os(LAYOUT), std::env::var(NAME)) else { return };
    write_images(Path::new(&layout), &name, 5);
}

#[test]
fn processes_lose_nothing_though_one_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let start = |name: String| -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "tests::concurrency::writer_process"])
            .env(LAYOUT, &layout)
            .env(NAME, name)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for round in 0..3 {
        let mut victim = start(format!("victim{round}"));
        let writers: Vec<Child> = (0..7).map(|writer| start(format!("round{round}-writer{writer}"))).collect();
        std::thread::sleep(std::time::Duration::from_millis(40 + 60 * round));
        victim.kill().unwrap();
        victim.wait().unwrap();
        for mut writer in writers {
            assert!(writer.wait().unwrap().success());
        }
        let names = check_layout(&layout);
        let survivors = names.iter().filter(|name| name.starts_with("round")).count() as u64;
        assert_eq!(survivors, 35 * (round + 1));
    }
}
