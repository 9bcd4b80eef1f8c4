//! Hostile archives are refused with the package and the path in the error, and no control character in it.

mod mutations;
mod sizes;

use std::{io::Write, time::Instant};

use pixi_oci_package::{Error, Refusal};
use pixi_oci_testkit::packages::{self as common, *};
use rattler_conda_types::Subdir;
use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;

fn error_of(package: &Package, bytes: Vec<u8>) -> Error {
    let directory = TempDir::new().unwrap();
    let built = package.write_bytes(directory.path(), bytes);
    let others = [python("3.12.1").write(directory.path()), built];
    trees(&others, Subdir::Linux64).expect_err("it must be refused")
}

fn text_of(error: &Error) -> String {
    let text = error.to_string();
    let hidden =
        |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    assert!(!text.chars().any(hidden), "{text:?}");
    assert!(text.contains("evil-1.0-h1234567_0"), "{text}");
    text
}

/// Refuses the package in both formats, with these words in the error.
fn refused(package: Package, words: &[&str]) {
    for package in [package.clone(), package.tar_bz2()] {
        let text = text_of(&error_of(&package, package.bytes()));
        assert!(text.contains(&package.file_name()), "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
    }
}

fn evil(items: impl IntoIterator<Item = Item>) -> Package {
    package("evil", items)
}

#[test]
fn names_in_the_archive() {
    for (path, words) in [
        ("../escape", ["../escape", "`..`"]),
        ("a/../../escape", ["a/../../escape", "`..`"]),
        ("/abs", ["/abs", "absolute"]),
        ("//abs", ["//abs", "absolute"]),
        ("a\u{1b}[2J\n/../b", ["a\\u{1b}[2J\\n/../b", "`..`"]),
        ("a\u{202e}\u{9b}/../b", ["\\u{202e}\\u{9b}", "`..`"]),
        ("lib/.wh.x", ["lib/.wh.x", ".wh."]),
        (".wh..wh..opq", [".wh..wh..opq", ".wh."]),
        ("conda-meta/other-1-0.json", ["conda-meta/other-1-0.json", "installer"]),
        ("conda-meta/evil-1.0-h1234567_0.json", ["conda-meta", "installer"]),
        ("./conda-meta", ["conda-meta", "installer"]),
        ("__clobbers__/a/b", ["__clobbers__", "installer"]),
        (".", ["\".\"", "empty path"]),
    ] {
        // In the archive alone, in the list alone, and in both.
        refused(evil([file(path, "x").unlisted()]), &words);
        let lists = json!({"paths": [{"_path": path, "path_type": "hardlink"}], "paths_version": 1}).to_string();
        refused(evil([file("ok", "x").unlisted()]).paths_json(lists), &words);
        refused(evil([file(path, "x")]), &words);
        refused(evil([symlink(path, "x")]), &words);
        if !path.contains('\n') {
            refused(evil([file(path, "x")]).deprecated(), &words);
        }
    }
    let long = "n".repeat(256);
    refused(evil([file(&long, "x")]), &[&long, "a name of"]);
    refused(evil([file(&("d/".repeat(2100) + "x"), "x").unlisted()]), &["at most 4096"]);
    let mut not_utf8 = file("name", "x").unlisted();
    not_utf8.before = {
        let mut bytes = Vec::new();
        entry(&mut bytes, EntryType::GNULongName, "././@LongLink", "", 0, 0, b"lib/\xff\0");
        bytes
    };
    // It is not listed: no list of paths could name it.
    tree(&evil([not_utf8])).unwrap();
}

#[test]
fn names_in_the_lists_of_old_packages() {
    let has_prefix = |path: &str| {
        let list = file("info/has_prefix", format!("/old text {path}\n")).in_info();
        evil([file("ok", "x"), list]).deprecated()
    };
    refused(has_prefix("../x"), &["../x", "`..`"]);
    refused(has_prefix("/x"), &["\"/x\"", "absolute"]);
    refused(has_prefix("x y z"), &["info/has_prefix"]);
    let neither = evil([file("ok", "x")]);
    let items: Vec<_> = neither.info_items().into_iter().filter(|item| item.path != "info/paths.json").collect();
    let error = error_of(&neither, bzip2_bytes(&common::tar(&items)));
    assert!(text_of(&error).contains("neither this file nor info/files"), "{error}");
}

#[test]
fn entry_points() {
    let with = |entry_points: &[&str]| evil([]).noarch("python").entry_points(entry_points);
    for command in ["../x", "/x", "..", ".hidden", "a/b", ""] {
        refused(with(&[&format!("{command} = m:f")]), &["info/link.json"]);
    }
    refused(with(&["a\u{1b}b/../.. = m:f"]), &["info/link.json"]);
    refused(with(&["x = m:f(); import os"]), &["info/link.json"]);
    let generic = file("info/link.json", r#"{"noarch": {"type": "generic"}, "package_metadata_version": 1}"#).in_info();
    refused(evil([generic]).noarch("python"), &["info/link.json", "generic"]);
}

#[test]
fn kinds_of_entries() {
    for (kind, word) in [
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
        (EntryType::GNUSparse, "sparse"),
        (EntryType::Continuous, "unknown kind"),
        (EntryType::new(b'Z'), "unknown kind"),
    ] {
        refused(evil([file("dev/x", "").really(kind).unlisted()]), &["dev/x", word]);
    }
    let body = Item { body: b"body".to_vec(), ..symlink("l", "t") };
    refused(evil([body]), &["\"l\"", "body"]);
    refused(evil([file("a", "").really(EntryType::Symlink)]), &["\"a\"", "target"]);
    refused(evil([symlink("a", "")]), &["\"a\"", "target"]);
    let mut ustar = tar::Header::new_ustar();
    ustar.set_path("slash/").unwrap();
    ustar.set_entry_type(EntryType::Regular);
    ustar.set_size(0);
    ustar.set_mode(0o644);
    ustar.set_cksum();
    let slash = Item { before: ustar.as_bytes().to_vec(), ..file("x", "") };
    refused(evil([slash]), &["slash/", "read differently"]);
}

#[test]
fn writing_through_links() {
    refused(evil([symlink("d", "/etc").unlisted(), file("d/passwd", "x").unlisted()]), &["d/passwd", "below \"d\""]);
    refused(evil([symlink("d", "other"), file("d/x/y", "x")]), &["d/x/y", "below \"d\""]);
    refused(evil([file("d/x", "x").unlisted(), symlink("d", "/etc").unlisted()]), &["\"d\"", "twice"]);
    refused(evil([file("d", "x"), file("d/x", "x").unlisted()]), &["d/x", "below \"d\""]);
    refused(evil([file("a", "x").unlisted(), file("./a", "y").unlisted()]), &["\"a\"", "twice"]);
    refused(evil([file("a", "x"), file("b", "").unlisted()]).paths_json(
        json!({"paths": [{"_path": "a", "path_type": "hardlink"}, {"_path": "./a", "path_type": "hardlink"}], "paths_version": 1}).to_string(),
    ), &["\"a\"", "twice"]);
    refused(evil([]).paths_json(
        json!({"paths": [{"_path": "a", "path_type": "softlink"}, {"_path": "a/b", "path_type": "hardlink"}], "paths_version": 1}).to_string(),
    ), &["a/b", "below \"a\""]);
}

#[test]
fn hard_links() {
    let to = |target: &str| evil([hard_link("h", &file(target, "")).list("path_type", "hardlink")]);
    refused(to("/etc/passwd"), &["\"h\"", "/etc/passwd"]);
    refused(to("../../etc/passwd"), &["\"h\"", "../../etc/passwd"]);
    refused(to("nothing"), &["\"h\"", "nothing"]);
    let later = file("z", "x");
    refused(evil([hard_link("h", &later), later]), &["\"h\"", "earlier"]);
    let link = symlink("l", "/etc/passwd");
    refused(evil([link, hard_link("h", &file("l", ""))]), &["\"h\"", "\"l\""]);
}

#[test]
fn lists_that_lie() {
    refused(evil([file("a", "x").list("path_type", "softlink")]), &["\"a\"", "symbolic link", "file"]);
    refused(evil([symlink("a", "b").list("path_type", "hardlink")]), &["\"a\"", "file", "symbolic link"]);
    refused(evil([directory("a").list("path_type", "hardlink")]), &["\"a\"", "directory"]);
    refused(evil([file("a", "x").list("path_type", "directory")]), &["\"a\"", "directory"]);
    refused(
        evil([]).paths_json(r#"{"paths": [{"_path": "gone", "path_type": "hardlink"}], "paths_version": 1}"#),
        &["gone", "not in the archive"],
    );
    refused(
        evil([symlink("a", "b").list("file_mode", "text").list("prefix_placeholder", "/x")]),
        &["\"a\"", "placeholder"],
    );
    refused(evil([symlink("a", "gone").list("no_link", true)]), &["\"a\"", "gone"]);
    refused(evil([symlink("a", "a").list("no_link", true)]), &["\"a\"", "no_link"]);
    refused(evil([symlink("a", "../../etc/passwd").list("no_link", true)]), &["\"a\"", "passwd"]);
    let index_link = Item { target: "x".into(), body: Vec::new(), ..file("info/about.json", "") }
        .really(EntryType::Symlink)
        .in_info();
    refused(Package { about: None, ..evil([index_link]) }, &["info/about.json", "symbolic link"]);
}

#[test]
fn placeholders() {
    let short = file("bin/x", b"/too/short/lib\0").list("file_mode", "binary").list("prefix_placeholder", "/too/short");
    refused(evil([short]), &["bin/x", "longer than the placeholder", "shorter prefix"]);
    let by_chance = file("x", "/p").list("file_mode", "text").list("prefix_placeholder", "/p");
    refused(evil([by_chance]), &["\"x\"", "shorter than 8 bytes"]);
    let start = Instant::now();
    // Text that grows, and lists of places that are longer than the text.
    let text = |name: &str, times| {
        file(name, "/8/bytes".repeat(times)).list("file_mode", "text").list("prefix_placeholder", "/8/bytes")
    };
    let grows = evil([text("x", 400_000)]);
    let directory = TempDir::new().unwrap();
    let built = grows.write_bytes(directory.path(), grows.bytes());
    let error = trees_at(&[built], Subdir::Linux64, &format!("/{}", "p".repeat(199))).unwrap_err();
    assert!(text_of(&error).contains("bytes with the prefix placeholder replaced"), "{error}");
    refused(evil([text("x", 500_000)]), &["more than 500000 places", "bomb"]);
    let strings = file("x", "/8/bytes\0".repeat(500_000)).list("file_mode", "binary");
    refused(evil([strings.list("prefix_placeholder", "/8/bytes")]), &["more than 500000 places"]);
    let long = file("x", vec![0; 140 << 20]).list("file_mode", "binary").list("prefix_placeholder", "/8/bytes");
    let noise = file("noise", sizes::noise(100_000));
    refused(evil([long, noise]), &["bytes in a file that has the prefix placeholder"]);
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn other_packages_inside() {
    for (field, value) in [("name", "other"), ("version", "2.0"), ("build", "other_0")] {
        let mut inside = evil([file("a", "x")]);
        inside.index[field] = value.into();
        let directory = TempDir::new().unwrap();
        let path = inside.write(directory.path()).path;
        let error = pixi_oci_package::read_info(&path, &evil([]).record()).unwrap_err();
        assert!(matches!(&error, Error::Mismatch { field: f, found, .. } if *f == field && found == value), "{error}");
        text_of(&error);
    }
}

#[test]
fn metadata() {
    let index = |json: &str| {
        let package = evil([]);
        let items: Vec<_> = package
            .info_items()
            .into_iter()
            .map(|item| if item.path == "info/index.json" { file("info/index.json", json) } else { item })
            .collect();
        text_of(&error_of(&package, bzip2_bytes(&common::tar(&items))))
    };
    let deep = "[".repeat(100_000);
    for json in ["", "{}", "null", "\u{1b}", r#"{"name": "\u001b[2J"}"#, &deep, &format!("{{\"name\": {deep}")] {
        let text = index(json);
        assert!(text.contains("info/index.json"), "{text}");
    }
    for json in [
        "",
        "{}",
        r#"{"paths": 1, "paths_version": 1}"#,
        r#"{"paths": [{"_path": "a", "path_type": "\u001b"}], "paths_version": 1}"#,
        &deep,
    ] {
        refused(evil([]).paths_json(json), &["info/paths.json"]);
    }
    let none = evil([]);
    let error = error_of(&none, bzip2_bytes(&common::tar(&[file("a", "x")])));
    assert!(text_of(&error).contains("info/index.json"), "{error}");
    let many = format!(
        r#"{{"paths": [{}], "paths_version": 1}}"#,
        vec![r#"{"_path":"a","path_type":"hardlink"}"#; 200_001].join(",")
    );
    let package = Package { level: 1, ..evil([]).paths_json(many) };
    let text = text_of(&error_of(&package, package.bytes()));
    assert!(text.contains("more than 10") && text.contains(" paths"), "{text}");
}

#[test]
fn zips() {
    let good = evil([file("a", "x")]);
    let zst = |items: &[Item]| zstd::encode_all(&*common::tar(items), 1).unwrap();
    let meta = ("metadata.json".to_owned(), b"{}".to_vec());
    let contents = ("pkg-evil-1.0-h1234567_0.tar.zst".to_owned(), zst(&good.contents()));
    let info = ("info-evil-1.0-h1234567_0.tar.zst".to_owned(), zst(&good.info_items()));
    let members = [meta.clone(), contents.clone(), info.clone()];
    let refused = |bytes: Vec<u8>, word: &str| {
        let text = text_of(&error_of(&good, bytes));
        assert!(text.contains(word), "{word}: {text}");
    };
    let whole = zip(&members);
    let directory = TempDir::new().unwrap();
    trees(&[good.write_bytes(directory.path(), whole.clone())], Subdir::Linux64).unwrap();

    // What builders write: with 64-bit sizes, and as a stream whose sizes come after the data.
    let large =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    let mut seekable = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut stream = zip::ZipWriter::new_stream(Vec::new());
    for (name, bytes) in &members {
        seekable.start_file(name.as_str(), large).unwrap();
        seekable.write_all(bytes).unwrap();
        stream.start_file(name.as_str(), large.large_file(false)).unwrap();
        stream.write_all(bytes).unwrap();
    }
    for bytes in [seekable.finish().unwrap().into_inner(), stream.finish().unwrap().into_inner()] {
        trees(&[good.write_bytes(directory.path(), bytes)], Subdir::Linux64).unwrap();
    }

    refused(zip(&[meta.clone(), contents.clone()]), "no member info-");
    refused(zip(&[meta.clone(), info.clone()]), "no member pkg-");
    refused(
        zip(&[meta.clone(), contents.clone(), ("pkg-other.tar.zst".into(), contents.1.clone()), info.clone()]),
        "second member",
    );
    refused(
        zip(&[meta.clone(), contents.clone(), info.clone(), ("evil.tar.zst".into(), contents.1.clone())]),
        "unexpected member",
    );
    refused(zip(&[meta.clone(), ("../pkg-x.tar.zst".into(), contents.1.clone()), info.clone()]), "`..`");
    refused(zip(&[meta, contents.clone(), ("x\u{1b}".into(), vec![])]), "unexpected member");
    let mut with_directory = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    with_directory.add_directory("metadata.json", zip::write::SimpleFileOptions::default()).unwrap();
    for (name, bytes) in &members[1..] {
        with_directory.start_file(name.as_str(), large.large_file(false)).unwrap();
        with_directory.write_all(bytes).unwrap();
    }
    refused(with_directory.finish().unwrap().into_inner(), "unexpected member");
    refused([&whole[..], b"garbage"].concat(), "follows it");
    refused([b"PK\x03\x04garbage", &whole[..]].concat(), "follows it");
    refused(zip_with(&members, zip::CompressionMethod::Deflated), "compressed member");

    // A directory that says something else than the members.
    let directory = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    refused(change(directory + 8, &[1, 0]), "encrypted");
    refused(change(directory + 46, b"METADATA"), "contradict");
    refused(change(30, b"METADATA"), "contradict");
    refused(change(directory + 42, &[1, 0, 0, 0]), "belong to no member");
    refused(change(directory + 42, &[0xff, 0xff, 0xff, 0x7f]), "");
    refused(change(directory + 24, &[9, 0, 0, 0]), "two sizes");
    refused(change(directory + 20, &[3, 0, 0, 0, 3, 0, 0, 0]), "");
    let end = whole.len() - 22;
    refused(change(end + 10, &[2, 0]), "several parts");
    refused(change(end + 16, &[0xff, 0xff, 0xff, 0xff]), "damaged");
    // A 64-bit locator in the comment of the last member: some programs would go by it.
    let last = whole.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    let mut hidden = whole.clone();
    hidden.splice(end..end, [&b"PK\x06\x07"[..], &[0; 16]].concat());
    hidden[last + 32..last + 34].copy_from_slice(&20_u16.to_le_bytes());
    let size = (end - directory + 20) as u32;
    let end_record = hidden.len() - 22;
    hidden[end_record + 12..end_record + 16].copy_from_slice(&size.to_le_bytes());
    refused(hidden, "64-bit directory");
    // Two members of one name: one hides the other.
    let twice = zip(&[
        members[0].clone(),
        ("pkg-a.tar.zst".into(), contents.1.clone()),
        ("pkg-b.tar.zst".into(), contents.1),
        info,
    ]);
    refused(replace(twice, b"pkg-b.tar.zst", b"pkg-a.tar.zst"), "twice");
    refused(b"not a package".to_vec(), "neither");
    refused(Vec::new(), "neither");
}

fn replace(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn refusals_can_be_told_apart() {
    let package = evil([file("../x", "")]);
    let error = error_of(&package, package.bytes());
    assert!(matches!(error, Error::Path { path, refusal: Refusal::Parent, .. } if path == "../x"));
}
