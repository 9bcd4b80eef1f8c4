//! Archives that are too much of something, or end too early.

use super::*;

#[test]
fn bombs() {
    let zeros = file("zeros", vec![0; 200 << 20]).unlisted();
    let start = Instant::now();
    refused(evil([zeros]), &["unpacked bytes", "bomb"]);
    let in_info = evil([file("info/zeros", vec![0; 200 << 20]).in_info()]);
    refused(in_info, &["unpacked bytes", "bomb"]);
    let mut extension = Vec::new();
    entry(&mut extension, EntryType::GNULongName, "././@LongLink", "", 0, 0, &vec![b'a'; 2 << 20]);
    refused(evil([Item { before: extension, ..file("x", "") }]), &["extension header"]);
    // Padding after the end of the tar, and a size that no disk has.
    let package = evil([]);
    let padded = [common::tar(&package.info_items()), vec![0; 200 << 20]].concat();
    let text = text_of(&error_of(&package, bzip2_bytes(&padded)));
    assert!(text.contains("bomb"), "{text}");
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(u64::MAX / 2);
    header.set_mode(0o644);
    header.set_cksum();
    let huge = Item { before: header.as_bytes().to_vec(), ..file("x", "") };
    refused(evil([huge]), &["damaged or truncated"]);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn copies_that_fill_a_layer() {
    let big = file("big", vec![0; 60 << 20]);
    let copies = |change: fn(Item) -> Item| {
        let copies: Vec<_> = (0..10).map(|i| change(hard_link(&format!("copy{i}"), &big))).collect();
        evil([big.clone()].into_iter().chain(copies))
    };
    refused(copies(|item| item.list("no_link", true)), &["bytes in its files"]);
    let links = (0..10).map(|i| symlink(&format!("s{i}"), "big").list("no_link", true));
    refused(evil([big.clone()].into_iter().chain(links)), &["bytes in its files"]);
    // As links they are one file.
    tree(&copies(|item| item)).unwrap();
}

#[test]
fn deep_and_long_names() {
    refused(evil([file(&("d/".repeat(300) + "x"), "").unlisted()]), &["301 components"]);
    let start = Instant::now();
    let directory = vec!["n".repeat(200); 19].join("/");
    let lists: Vec<_> =
        (0..20_000).map(|i| json!({"_path": format!("{directory}/{i}"), "path_type": "hardlink"})).collect();
    let lists = json!({"paths": lists, "paths_version": 1}).to_string();
    let noise = file("info/noise", noise(1_500_000)).in_info();
    let package = Package { level: 1, ..evil([noise]).paths_json(lists) };
    let text = text_of(&error_of(&package, package.bytes()));
    assert!(text.contains("bytes of names"), "{text}");
    assert!(start.elapsed().as_secs() < 60);
}

/// What does not compress.
pub fn noise(words: u32) -> Vec<u8> {
    (0..words).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes()).collect()
}

#[test]
fn many_entries() {
    // More entries than an archive of this length has, beside enough noise to keep the archive's ratio ordinary.
    let package = evil([file("noise", noise(600_000)).unlisted()]);
    let mut directory = Vec::new();
    entry(&mut directory, EntryType::Directory, "d", "", 0o755, 0, b"");
    let mut contents = common::tar(&package.contents());
    contents.truncate(contents.len() - 1024);
    contents.extend(directory.repeat(200_001));
    let bytes = zip(&[
        ("pkg-evil.tar.zst".into(), zstd::encode_all(&*contents, 1).unwrap()),
        ("info-evil.tar.zst".into(), zstd::encode_all(&*common::tar(&package.info_items()), 1).unwrap()),
    ]);
    let text = text_of(&error_of(&package, bytes));
    assert!(text.contains(" paths; this is not a package"), "{text}");
}

#[test]
fn pax_and_desynchronised_sizes() {
    let before = |bytes: Vec<u8>| evil([Item { before: bytes, ..file("x", "0123456789") }]);
    refused(before(pax(&[("size", "3")])), &["\"x\"", "two sizes"]);
    refused(before(pax(&[("size", "-1")])), &["read differently"]);
    refused(before(pax(&[("path", "a"), ("path", "b")])), &["read differently"]);
    refused(before(pax(&[("GNU.sparse.major", "1")])), &["sparse"]);
    refused(before([pax(&[("path", "a")]), pax(&[("path", "b")])].concat()), &["read differently"]);
    refused(before(pax(&[("path", "../../x")])), &["../../x", "`..`"]);
    let mut damaged = Vec::new();
    entry(&mut damaged, EntryType::XHeader, "p", "", 0o644, 0, b"99999999999999999999 path=x\n");
    refused(before(damaged), &["PAX"]);
    let mut global = Vec::new();
    entry(&mut global, EntryType::XGlobalHeader, "g", "", 0o644, 0, b"14 path=abcde\n");
    refused(before(global), &["read differently"]);
    let mut long = pax(&[("path", "a")]);
    entry(&mut long, EntryType::GNULongName, "././@LongLink", "", 0, 0, b"b\0");
    refused(before(long), &["read differently"]);
    // An archive after the end of the archive.
    let package = evil([]);
    let tar = common::tar(&package.info_items());
    let text = text_of(&error_of(&package, bzip2_bytes(&[&tar[..], &tar].concat())));
    assert!(text.contains("after its end"), "{text}");
    let mut dangling = tar[..tar.len() - 1024].to_vec();
    dangling.extend(pax(&[("path", "a")]));
    let text = text_of(&error_of(&package, bzip2_bytes(&dangling)));
    assert!(text.contains("further entry"), "{text}");
}

#[test]
fn truncated_anywhere() {
    for package in [evil([file("a", "some content")]), evil([file("a", "some content")]).tar_bz2()] {
        let whole = package.bytes();
        for length in (0..whole.len()).step_by(7) {
            text_of(&error_of(&package, whole[..length].to_vec()));
        }
        // One byte different: an error or a tree, but no panic.
        let directory = TempDir::new().unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            if let Err(error) = trees(&[package.write_bytes(directory.path(), bytes)], Subdir::Linux64) {
                text_of(&error);
            }
        }
    }
}
