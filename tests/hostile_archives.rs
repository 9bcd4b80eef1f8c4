//! Archives that are bombs, and archives in which two programs find two different things.

use tar::EntryType;

use crate::{
    common::packages::{self, *},
    hostile::{Target, around, evil},
};

#[test]
fn bombs_of_zeros() {
    let target = Target::new();
    target.refuses_package(&evil([file("zeros", vec![0; 200 << 20])]), &["bomb"]);
    target.refuses_package(&evil([file("info/zeros", vec![0; 200 << 20]).in_info()]), &["bomb"]);
    // After the end of the archive.
    let package = evil([]).tar_bz2();
    let padded = [packages::tar(&package.info_items()), vec![0; 200 << 20]].concat();
    target.refuses(&around(package).archive("evil", bzip2_bytes(&padded)), &["evil", "bomb"]);
}

#[test]
fn bombs_that_grow_later() {
    let target = Target::new();
    let big = file("big", vec![0; 60 << 20]);
    let copies = (0..20).map(|i| hard_link(&format!("copy{i}"), &big).list("no_link", true));
    target.refuses_package(&evil([big.clone()].into_iter().chain(copies)), &["bytes in its files"]);
    let grows = file("x", vec![b'a'; 30 << 20]).list("file_mode", "text").list("prefix_placeholder", "a");
    target.refuses_package(&evil([grows]), &["prefix placeholder"]);
}

#[test]
fn bombs_of_headers() {
    let target = Target::new();
    let long_name = |kind, bytes: usize| {
        let mut header = Vec::new();
        entry(&mut header, kind, "././@LongLink", "", 0, 0, &vec![b'a'; bytes]);
        evil([Item { before: header, ..file("x", "") }])
    };
    target.refuses_package(&long_name(EntryType::GNULongName, 2 << 20), &["extension header"]);
    target.refuses_package(&long_name(EntryType::XHeader, 20 << 20), &["extension header"]);

    // A size that no disk has.
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(u64::MAX / 2);
    header.set_mode(0o644);
    header.set_cksum();
    target.refuses_package(
        &evil([Item { before: header.as_bytes().to_vec(), ..file("x", "") }]),
        &["damaged or truncated"],
    );

    // More entries than any file system likes.
    let package = evil([]).tar_bz2();
    let mut directory = Vec::new();
    entry(&mut directory, EntryType::Directory, "d", "", 0o755, 0, b"");
    let many = bzip2_bytes(
        &[packages::tar(&[]).split_off(1024), directory.repeat(200_001), packages::tar(&package.info_items())].concat(),
    );
    target.refuses(&around(package).archive("evil", many), &["evil"]);

    // A zstd frame that asks for a window of 2 GiB.
    let package = evil([]);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8];
    frame.extend([0x03, 0x00, 0x00, b'x']);
    let bytes = zip(&[
        ("metadata.json".into(), br#"{"conda_pkg_format_version": 2}"#.to_vec()),
        ("pkg-evil-1.0-h1234567_0.tar.zst".into(), frame.clone()),
        ("info-evil-1.0-h1234567_0.tar.zst".into(), frame),
    ]);
    target.refuses(&around(package).archive("evil", bytes), &["evil"]);
}

/// TARmageddon (CVE-2025-62518), CVE-2026-33055, GHSA-3pv8-6f4r-ffg2: two readers, two archives.
#[test]
fn archives_that_programs_read_differently() {
    let target = Target::new();
    let before = |bytes: Vec<u8>| evil([Item { before: bytes, ..file("x", "0123456789") }]);
    target.refuses_package(&before(pax(&[("size", "3")])), &["\"x\"", "two sizes"]);
    for records in [
        &[("size", "-1")][..],
        &[("path", "a"), ("path", "b")],
        &[("GNU.sparse.major", "1")],
        &[("path", "../../x")],
        &[("path", "/etc/x")],
    ] {
        target.refuses_package(&before(pax(records)), &[]);
    }
    target.refuses_package(&before([pax(&[("path", "a")]), pax(&[("path", "b")])].concat()), &["differently"]);
    let mut inner = Vec::new();
    entry(&mut inner, EntryType::Regular, "smuggled", "", 0o644, 0, b"x");
    // A body that is an archive itself, behind a header whose PAX size says that there is none.
    let nested = [pax(&[("size", "0")]), Vec::new()].concat();
    target.refuses_package(&evil([Item { before: nested, ..file("outer", inner) }]), &["\"outer\"", "two sizes"]);

    let package = evil([]).tar_bz2();
    let tar = packages::tar(&package.info_items());
    let twice = bzip2_bytes(&[&tar[..], &tar].concat());
    target.refuses(&around(package.clone()).archive("evil", twice), &["evil", "after its end"]);
    let two_streams = [bzip2_bytes(&tar), bzip2_bytes(&tar)].concat();
    target.refuses(&around(package).archive("evil", two_streams), &["evil"]);
}

/// Zip differentials (CVE-2025-54368, GHSA-pjjw-68hj-v9mw, CVE-2025-29787).
#[test]
fn zips_that_programs_read_differently() {
    let target = Target::new();
    let good = evil([file("a", "x")]);
    let zst = |items: &[Item]| zstd::encode_all(&*packages::tar(items), 1).unwrap();
    let meta = ("metadata.json".to_owned(), b"{}".to_vec());
    let contents = ("pkg-evil-1.0-h1234567_0.tar.zst".to_owned(), zst(&good.contents()));
    let info = ("info-evil-1.0-h1234567_0.tar.zst".to_owned(), zst(&good.info_items()));
    let named = |name: &str| (name.to_owned(), contents.1.clone());
    let whole = zip(&[meta.clone(), contents.clone(), info.clone()]);
    let directory = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (bytes, words) in [
        (zip(&[meta.clone(), contents.clone()]), "no member info-"),
        (zip(&[meta.clone(), info.clone()]), "no member pkg-"),
        (zip(&[meta.clone(), contents.clone(), named("pkg-other.tar.zst"), info.clone()]), "second member"),
        (zip(&[meta.clone(), named("../pkg-x.tar.zst"), contents.clone(), info.clone()]), "`..` component"),
        (zip(&[meta.clone(), named("/etc/cron.d/x"), contents.clone(), info.clone()]), "absolute path"),
        ([&whole[..], b"garbage"].concat(), "follows it"),
        ([b"PK\x03\x04garbage", &whole[..]].concat(), "follows it"),
        (
            zip_with(&[meta.clone(), contents.clone(), info.clone()], zip::CompressionMethod::Deflated),
            "compressed member",
        ),
        (change(directory + 8, &[1, 0]), "encrypted"),
        (change(directory + 46, b"METADATA"), "contradict"),
        (change(directory + 24, &[9, 0, 0, 0]), "two sizes"),
        (change(whole.len() - 22 + 16, &[0xff; 4]), "damaged"),
        (b"neither zip nor bzip2".to_vec(), "neither"),
    ] {
        target.refuses(&around(good.clone()).archive("evil", bytes), &["evil-1.0-h1234567_0", words]);
    }
}
