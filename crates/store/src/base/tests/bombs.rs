//! Layers of some kB that would take gigabytes or hours.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use pixi_oci_image::Architecture::Amd64;
use tar::{Builder, EntryType, Header};

use super::fixture::{Fixture, OCI, gzip};
use crate::base::{BaseFiles, BaseImage};

/// An image of these layers, each given as (blob, tar); what reading its files gives, and how long that took.
fn read(layers: &[(Vec<u8>, Vec<u8>)]) -> (Result<BaseFiles, String>, Duration) {
    let fixture = Fixture::new();
    let image = fixture.image(OCI, "linux/amd64", layers);
    fixture.names(&[(&image, None)]);
    let start = Instant::now();
    let files =
        |image: BaseImage| BaseFiles::read(&image, &fixture.cache()).map_err(|error| super::fixture::chain(&error));
    let result = fixture.resolve(&fixture.layout(""), Amd64).and_then(files);
    (result, start.elapsed())
}

fn packed(tar: Builder<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let tar = tar.into_inner().unwrap();
    (gzip(&tar), tar)
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str) {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    tar.append_data(&mut header, path, io::empty()).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    tar.append_link(&mut header, path, target).unwrap();
}

#[track_caller]
fn refused(layers: &[(Vec<u8>, Vec<u8>)], why: &str) {
    let (result, time) = read(layers);
    let error = result.expect_err("it is refused");
    assert!(error.contains(why), "{error}");
    assert!(time < Duration::from_secs(30), "{time:?}");
}

#[test]
fn paths_deeper_than_any_tree_are_refused() {
    let mut tar = Builder::new(Vec::new());
    file(&mut tar, &vec!["d"; 1990].join("/"));
    refused(&[packed(tar)], "a path of 1990 components; at most 256 are accepted");
    let mut tar = Builder::new(Vec::new());
    link(&mut tar, "l", &"x".repeat(4097));
    refused(&[packed(tar)], "a path of 4097 bytes; at most 4096 are accepted");
}

#[test]
fn all_layers_have_one_budget() {
    // Less than the budget in each layer, and more in all. The control characters take six bytes each in the cache.
    let layer = |number: usize| {
        let mut tar = Builder::new(Vec::new());
        let target = format!("{}/", "\u{1}".repeat(199)).repeat(20);
        (0..3000).for_each(|n| link(&mut tar, &format!("{number}-{n}"), &target));
        packed(tar)
    };
    let layers: Vec<_> = (0..3).map(layer).collect();
    let small: usize = layers.iter().map(|(blob, _)| blob.len()).sum();
    assert!(small < 2_000_000, "{small}");
    refused(&layers, "the entries of the image's layers take more than");
    assert!(read(&layers[..1]).0.is_ok());
}

#[test]
fn directories_that_nobody_mentions_are_counted() {
    let mut tar = Builder::new(Vec::new());
    let deep = vec!["d"; 250].join("/");
    (0..6000).for_each(|n| file(&mut tar, &format!("{n}/{deep}")));
    refused(&[packed(tar)], "its paths take more than");
}

#[test]
fn a_bomb_is_refused_as_verify_refuses_it() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    io::copy(&mut io::repeat(0).take(400 << 20), &mut encoder).unwrap();
    refused(&[(encoder.finish().unwrap(), Vec::new())], "unpacks to more than 1100 times its size");
}

#[test]
fn links_that_take_long_to_follow_are_refused() {
    let mut tar = Builder::new(Vec::new());
    file(&mut tar, "a/x");
    let target = "a/../".repeat(100);
    (0..38).for_each(|n| link(&mut tar, &format!("l{n}"), &format!("{target}l{}", n + 1)));
    link(&mut tar, "l38", "a");
    (0..3000).for_each(|n| file(&mut tar, &format!("l0/{n}")));
    refused(&[packed(tar)], "take more than 4096 steps to follow");
}

#[test]
fn a_large_honest_base_works_and_is_quick() {
    let mut tar = Builder::new(Vec::new());
    link(&mut tar, "lib", "usr/lib");
    for directory in 0..1000 {
        for n in 0..100 {
            file(&mut tar, &format!("lib/python3/site-packages/package-{directory}/module/data/{n}.txt"));
        }
    }
    let (files, time) = read(&[packed(tar)]);
    let files = files.unwrap();
    assert!(files.lookup("/usr/lib/python3/site-packages/package-999/module/data/99.txt").is_some());
    assert!(time < Duration::from_secs(30), "{time:?}");
}
