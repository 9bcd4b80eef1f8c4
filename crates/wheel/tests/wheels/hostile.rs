//! Hostile wheels are refused with the wheel and the path in the error, and no control character in it.

use std::time::Instant;

use pixi_oci_testkit::wheels::{
    Install, Member, Wheel, directory, entry_points, file, install, python, stored, wheel, zip,
};

fn text_of(error: &pixi_oci_package::Error) -> String {
    let text = error.to_string();
    let hidden =
        |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    assert!(!text.chars().any(hidden), "{text:?}");
    assert!(text.starts_with("evil-1.0-py3-none-any.whl: "), "{text}");
    text
}

fn refused_bytes(bytes: &[u8], words: &[&str]) {
    let error = Install::default().bytes(&evil([]), bytes).map(|_| ()).expect_err(&format!("{words:?}"));
    let text = text_of(&error);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

fn refused(wheel: &Wheel, words: &[&str]) {
    refused_bytes(&wheel.bytes(), words);
}

fn evil(members: impl IntoIterator<Item = Member>) -> Wheel {
    wheel("evil", members)
}

#[test]
fn names_in_the_zip() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(300) + "x";
    for (path, words) in [
        ("../escape", ["../escape", "`..`"]),
        ("a/../../escape", ["a/../../escape", "`..`"]),
        ("evil-1.0.data/data/../../x", ["evil-1.0.data", "`..`"]),
        ("evil-1.0.data/scripts/../x", ["evil-1.0.data", "`..`"]),
        ("/etc/passwd", ["/etc/passwd", "absolute"]),
        ("", ["\"\"", "empty"]),
        (".", ["\".\"", "empty"]),
        ("a\n\u{1b}[2J/../b", ["a\\n\\u{1b}[2J", "`..`"]),
        ("a\u{202e}/../b", ["\\u{202e}", "`..`"]),
        ("a\0b", ["a\\0b", "NUL"]),
        ("a/.wh.b", ["a/.wh.b", ".wh."]),
        ("evil-1.0.data/data/.wh.etc", [".wh.etc", ".wh."]),
        ("evil-1.0.data/data/conda-meta/history", ["conda-meta/history", "installer"]),
        ("evil-1.0.data/data/__clobbers__/x", ["__clobbers__/x", "installer"]),
        ("evil-1.0.data/data/bin/python3.12", ["bin/python3.12", "reserved for the interpreter"]),
        ("evil-1.0.data/scripts/Python3", ["scripts/Python3", "reserved for the interpreter"]),
        ("evil-1.0.data/scripts/a/b", ["scripts/a/b", "among the scripts"]),
        ("evil-1.0.data/other/x", ["evil-1.0.data/other/x", "purelib"]),
        ("evil-1.0.data/x", ["evil-1.0.data/x", "purelib"]),
        ("evil-1.0.data/data", ["evil-1.0.data/data", "not a directory"]),
        ("evil-1.0.data", ["evil-1.0.data", "purelib"]),
        ("evil-1.0.data/purelib/other-1.0.dist-info/RECORD", ["other-1.0.dist-info", "another package"]),
        ("evil-1.0.data/data/lib/python3.12/site-packages/o-1.Dist-Info/x", ["o-1.Dist-Info", "another package"]),
        (&long, ["xxx", "a name of"]),
        (&deep, ["d/d", "components"]),
    ] {
        refused(&evil([file(path, "x")]), &words);
    }
    refused(&evil([directory("../d/")]), &["../d", "`..`"]);
    refused(&evil([directory("evil-1.0.data/scripts/d/")]), &["scripts/d", "among the scripts"]);
    refused(&evil([directory("evil-1.0.data/other/")]), &["purelib"]);
}

#[test]
fn names_that_programs_read_differently() {
    refused(&evil([file("x", "").both(|h| h.name = b"\xff".to_vec()).unlisted()]), &["UTF-8"]);
    refused(&evil([file("ü", "").both(|h| h.flags = 0)]), &["ü", "UTF-8"]);
    let unicode_path = |name: &str| [&[0x75, 0x70, 5 + name.len() as u8, 0, 1, 0, 0, 0, 0], name.as_bytes()].concat();
    install(&evil([file("a.py", "").both(|h| h.extra = unicode_path("a.py"))])).unwrap();
    refused(&evil([file("a.py", "").central(|h| h.extra = unicode_path("b.py"))]), &["a.py", "two names"]);
    refused(&evil([file("a.py", "").local(|h| h.extra = unicode_path("b.py"))]), &["a.py", "contradict"]);
}

#[test]
fn twice_and_below() {
    refused(&evil([file("a", "x"), file("a", "x")]), &["\"a\"", "twice"]);
    refused(&evil([file("a", "x"), file("a", "y").unlisted()]), &["\"a\"", "twice"]);
    refused(&evil([file("a", "x"), file(".//a", "x")]), &["\"a\"", "twice"]);
    refused(&evil([file("a", "x"), file("a/b", "x")]), &["a/b", "below \"a\""]);
    refused(&evil([file("a", "x"), directory("a/")]), &["\"a\"", "twice"]);
    // In different places of the wheel and the same of the prefix.
    for other in ["purelib/a", "platlib/a", "data/lib/python3.12/site-packages/a"] {
        refused(&evil([file("a", "x"), file(&format!("evil-1.0.data/{other}"), "y")]), &["site-packages/a", "twice"]);
    }
    let record = file("evil-1.0.data/purelib/evil-1.0.dist-info/RECORD", "x");
    refused(&evil([record]), &["evil-1.0.dist-info/RECORD", "twice"]);
    let scripts = entry_points("evil", "[console_scripts]\nx = a:b\n");
    refused(&evil([scripts.clone(), file("evil-1.0.data/data/bin/x", "y")]), &["bin/x", "twice"]);
    refused(&evil([scripts, file("evil-1.0.data/data/bin/x/y", "y")]), &["bin/x", "twice"]);
}

#[test]
fn kinds_of_members() {
    refused(&evil([file("link", "/etc/passwd").mode(0o120_777)]), &["\"link\"", "symbolic link"]);
    let link = Member { system: 0, ..file("link", "x").mode(0o120_777) };
    refused(&evil([link]), &["\"link\"", "symbolic link"]);
    refused(&evil([file("dev", "").mode(0o020_644)]), &["\"dev\"", "device"]);
    refused(&evil([file("fifo", "").mode(0o010_644)]), &["\"fifo\"", "pipe"]);
    refused(&evil([file("d", "").mode(0o040_755)]), &["\"d\"", "directory's mode"]);
    let dos = Member { external: 0x10, ..file("d", "") };
    refused(&evil([dos]), &["\"d\"", "directory's attribute"]);
    refused(&evil([directory("d/").mode(0o100_644)]), &["d/", "file's mode"]);
    refused(&evil([stored("d/", "content").mode(0o040_755).unlisted()]), &["d/", "directory with content"]);
    // Bits that must not survive.
    let (_, tree) = install(&evil([file("setuid", "").mode(0o104_755), file("open", "").mode(0o100_666)])).unwrap();
    assert!(!pixi_oci_layer::dump(&tree.tree).contains("f 4"));
    assert!(!pixi_oci_layer::dump(&tree.tree).contains("0666"));
}

#[test]
fn headers_that_contradict_each_other() {
    let a = || file("a.py", "some content, some content");
    for changed in [
        a().local(|h| h.name = b"b.py".to_vec()),
        a().local(|h| h.name = b"../../b.py".to_vec()),
        a().local(|h| h.crc ^= 1),
        a().local(|h| h.crc = 0),
        a().streamed(true).local(|h| h.crc = 1),
        a().local(|h| h.size += 1),
        a().local(|h| h.method = 0),
        a().local(|h| h.flags = 0x800),
        a().local(|h| h.flags = 8),
        a().local(|h| h.extra = vec![1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        refused(&evil([changed]), &["a.py", "contradict"]);
    }
    // Other lengths: what follows is no header, or belongs to nobody.
    refused(&evil([a().central(|h| h.packed -= 1)]), &["the zip"]);
    refused(&evil([a().both(|h| h.packed -= 1)]), &["belong to no member"]);
    refused(&evil([a().both(|h| h.packed += 1)]), &["overlap"]);
    refused(&evil([a().both(|h| h.size -= 1)]), &["a.py", "length"]);
    refused(&evil([a().both(|h| h.size += 1)]), &["a.py", "damaged"]);
    refused(&evil([a().both(|h| h.crc ^= 1)]), &["a.py", "checksum"]);
    // The compressed data ends before the member does.
    let mut padded = a().both(|h| h.packed += 3);
    padded.data.extend(b"abc");
    refused(&evil([padded]), &["a.py", "length"]);
    let mut corrupt = a();
    corrupt.data[0] = 0xff;
    refused(&evil([corrupt]), &["a.py", "damaged"]);
    refused(&evil([stored("a.py", "abc").both(|h| h.packed = 2)]), &["a.py", "two sizes"]);

    install(&evil([a().streamed(true), file("b.py", "x").streamed(false)])).unwrap();
    let mut lies = a().streamed(true);
    lies.after[4] ^= 1;
    refused(&evil([lies]), &["a.py", "contradict"]);
    let mut lies = a().streamed(false);
    lies.after.truncate(11);
    refused(&evil([lies]), &["belong to no member"]);
    refused(&evil([a().both(|h| h.flags = 8)]), &["belong to no member"]);
    refused(&evil([stored("a.py", "PK\x03\x04").streamed(true)]), &["a.py", "contradict"]);
    for (flags, word) in [(1, "encrypted"), (0x40, "encrypted"), (0x2000, "encrypted"), (0x20, "flags")] {
        refused(&evil([a().both(|h| h.flags = flags)]), &["a.py", word]);
    }
    for method in [1, 9, 12, 14, 93, 99] {
        refused(&evil([a().both(|h| h.method = method)]), &["a.py", "wheels use deflate"]);
    }
}

#[test]
fn sizes_of_64_bits() {
    let wide = |values: &[u64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [&[1, 0, bytes.len() as u8, 0], &bytes[..]].concat()
    };
    let a = || stored("a.py", "content");
    let both =
        |h: &mut pixi_oci_testkit::wheels::Header| (h.size, h.packed, h.extra) = (u32::MAX, u32::MAX, wide(&[7, 7]));
    install(&evil([a().both(both)])).unwrap();
    // As Python writes what could have become large.
    install(&evil([a().local(both)])).unwrap();
    // As Bazel writes everything.
    install(&evil([a().local(|h| h.extra = wide(&[7, 7]))])).unwrap();
    refused(&evil([a().both(both).local(|h| h.extra = wide(&[8, 7]))]), &["a.py", "contradict"]);
    refused(&evil([a().local(|h| h.extra = wide(&[8, 7]))]), &["a.py", "contradict"]);
    refused(&evil([a().local(|h| (h.size, h.extra) = (8, wide(&[7, 7])))]), &["a.py", "contradict"]);
    refused(&evil([a().both(both).central(|h| h.extra = wide(&[7]))]), &["directory is damaged"]);
    refused(&evil([a().both(both).central(|h| h.extra = Vec::new())]), &["directory is damaged"]);
    refused(&evil([a().central(|h| h.extra = wide(&[7, 7]))]), &["a.py", "64-bit"]);
    refused(&evil([a().both(both).central(|h| h.extra = [wide(&[7, 7]), wide(&[8, 8])].concat())]), &["damaged"]);
    refused(&evil([a().both(both).central(|h| h.extra = wide(&[u64::MAX, u64::MAX]))]), &["the zip"]);
    refused(&evil([a().central(|h| h.extra = vec![1, 0, 0xff, 0xff])]), &["directory is damaged"]);
}

#[test]
fn ends_of_the_zip() {
    let whole = evil([file("a.py", "x")]).bytes();
    Install::default().bytes(&evil([]), &whole).unwrap();
    let end = whole.len() - 22;
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    refused_bytes(&[&whole[..], b"\0"].concat(), &["follows it"]);
    refused_bytes(&[&whole[..], &whole].concat(), &["follows it"]);
    refused_bytes(&[b"#!/bin/sh\n", &whole[..]].concat(), &["follows it"]);
    // A comment, which could be another zip.
    refused_bytes(&[&change(end + 20, &[3, 0])[..], b"abc"].concat(), &["follows it"]);
    refused_bytes(&change(end + 4, &[1, 0]), &["several parts"]);
    refused_bytes(&change(end + 8, &[9, 0]), &["several parts"]);
    refused_bytes(&change(end + 8, &[9, 0, 9, 0]), &["damaged"]);
    refused_bytes(&change(end + 8, &[1, 0, 1, 0]), &["more than its members"]);
    refused_bytes(&change(end + 8, &[0xff; 4]), &["64-bit directory is damaged"]);
    refused_bytes(&change(end + 16, &[0xff; 4]), &["64-bit directory is damaged"]);
    refused_bytes(&change(end + 12, &[0xff, 0xff, 0xff, 0x7f]), &["more members"]);
    refused_bytes(b"", &["too short"]);
    refused_bytes(b"not a wheel at all, but some text", &["truncated"]);
    // A local header that the directory does not have, before, between and after the others.
    let members = evil([file("a.py", "x")]).all_members();
    let hidden = zip(&[file("hidden.py", "evil")]);
    let hidden = &hidden[..hidden.len() - 22 - 46 - "hidden.py".len()];
    for at in 0..members.len() {
        let mut members = members.clone();
        members[at].after = hidden.to_vec();
        refused_bytes(&zip(&members), &["belong to no member"]);
    }
    let mut first = zip(&members);
    first.splice(0..0, hidden.iter().copied());
    refused_bytes(&first, &["follows it"]);
}

#[test]
fn directories_of_64_bits() {
    let whole = evil([file("a.py", "x")]).bytes();
    let (rest, end) = whole.split_at(whole.len() - 22);
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&end[at..at + len]);
        u64::from_le_bytes(bytes)
    };
    let (count, size, start) = (number(10, 2), number(12, 4), number(16, 4));
    let with = |change: &dyn Fn(&mut Vec<u64>)| {
        // Its length; two counts, size and start of the directory; where the record is.
        let mut numbers = vec![44, count, count, size, start, rest.len() as u64];
        change(&mut numbers);
        let n = |at: usize| numbers[at].to_le_bytes();
        let record = [b"PK\x06\x06", &n(0)[..], &[45, 3, 45, 0], &[0; 8], &n(1), &n(2), &n(3), &n(4)].concat();
        let locator = [b"PK\x06\x07", &[0; 4][..], &n(5), &[1, 0, 0, 0]].concat();
        [rest, &record, &locator, b"PK\x05\x06\0\0\0\0", &[0xff; 12], &[0; 2]].concat()
    };
    Install::default().bytes(&evil([]), &with(&|_| {})).unwrap();
    for (at, value) in [(0, 45), (0, u64::MAX), (1, 1), (2, u64::MAX), (5, 0), (5, u64::MAX)] {
        refused_bytes(&with(&|numbers| numbers[at] = value), &["64-bit directory is damaged"]);
    }
    refused_bytes(&with(&|numbers| numbers[3] = u64::MAX), &["more members"]);
    refused_bytes(&with(&|numbers| numbers[4] = u64::MAX), &["follows it"]);
    // Not needed, or not the same.
    let mut both = with(&|_| {});
    let at = both.len() - 22;
    both[at + 12..].copy_from_slice(&end[12..]);
    Install::default().bytes(&evil([]), &both).unwrap();
    both[at + 12] ^= 1;
    refused_bytes(&both, &["contradict"]);
    both[at..].copy_from_slice(end);
    refused_bytes(&both, &["beside a 32-bit one"]);
    let hidden = [&[0xfe, 0xca, 20, 0][..], b"PK\x06\x07", &[0; 16]].concat();
    let mut members = evil([]).all_members();
    members.last_mut().unwrap().central.extra = hidden;
    refused_bytes(&zip(&members), &["beside a 32-bit one"]);
    refused_bytes(&with(&|numbers| (numbers[1], numbers[2]) = (u64::MAX, u64::MAX)), &["directory is damaged"]);
}

#[test]
fn records() {
    let good = evil([file("a.py", "a"), file("b.py", "b")]);
    let lines = good.record_lines();
    let with = |record: &str| good.clone().record(record);
    install(&good).unwrap();
    refused(&with(&lines.replace(",1\n", ",-1\n")), &["RECORD", "not a number"]);
    refused(&with(&lines.replace(",1\n", ",99999999999999999999\n")), &["RECORD", "not a number"]);
    for (path, word) in [
        ("../../../../bin/python", "`..`"),
        ("a/../../../../../x", "`..`"),
        ("/etc/passwd", "absolute"),
        ("//etc/passwd", "absolute"),
    ] {
        refused(&with(&format!("{lines}{path},,\n")), &["RECORD", word]);
    }
    refused(&with(&format!("{lines}a,b\n")), &["RECORD", "fewer than three"]);
    refused(&with(&format!("{lines}a,b,c,d\n")), &["RECORD", "more than three"]);
    refused(&with(&format!("{lines}\"a")), &["RECORD", "quote"]);
    // No RECORD at all.
    refused_bytes(&zip(&good.members), &["RECORD", "no such file"]);
    let not_utf8 = file("evil-1.0.dist-info/RECORD", b"\xff,,\n");
    refused_bytes(&zip(&[good.members.clone(), vec![not_utf8]].concat()), &["RECORD", "utf-8"]);
}

#[test]
fn metadata() {
    refused(&evil([file("other-1.0.dist-info/METADATA", "x")]), &["two .dist-info", "other-1.0.dist-info"]);
    refused(&evil([directory("evil-2.0.dist-info/")]), &["two .dist-info"]);
    refused(&evil([file("evil-1.0.DIST-INFO/METADATA", "x")]), &["two .dist-info"]);
    refused_bytes(&zip(&[file("a.py", "x")]), &["no .dist-info"]);
    let renamed = |from: &str, to: &str| {
        let other = wheel(from, []);
        let error = Install::default().bytes(&evil([]), &other.bytes()).map(|_| ()).unwrap_err();
        assert!(text_of(&error).contains(to), "{error}");
    };
    renamed("other", "not the locked package");
    renamed("evil-1.0", "not the locked package");
    let metadata = |text: &str| evil([file("evil-1.0.dist-info/METADATA", text)]);
    refused(&metadata("Name: other\nVersion: 1.0\n"), &["METADATA", "Name: other", "\"evil\""]);
    refused(&metadata("Name: evil\nVersion: 2.0\n"), &["METADATA", "Version: 2.0"]);
    refused(&metadata("Name: ev\u{1b}il\nVersion: 1.0\n"), &["METADATA", "\\u{1b}"]);
    refused(&metadata("\nName: evil\nVersion: 1.0\n"), &["METADATA", "no `Name:`"]);
    refused(&metadata(""), &["METADATA"]);
    let file_wheel = |text: &str| evil([file("evil-1.0.dist-info/WHEEL", text)]);
    refused(&file_wheel("Wheel-Version: 2.0\n"), &["WHEEL", "2.0"]);
    refused(&file_wheel("Wheel-Version: 1\n"), &["WHEEL", "Wheel-Version"]);
    refused(&file_wheel(""), &["WHEEL"]);
    for missing in ["METADATA", "WHEEL"] {
        let mut wheel = evil([]);
        wheel.members.retain(|member| !member.central.name.ends_with(missing.as_bytes()));
        refused(&wheel, &[missing, "no such file"]);
    }
    for line in
        ["../x = a:b", "/x = a:b", "a/b = a:b", "python = a:b", "x = a:b();import os", "x = a\n", "\u{1b} = a:b\u{1b}"]
    {
        refused(&evil([entry_points("evil", &format!("[console_scripts]\n{line}\n"))]), &["entry_points.txt"]);
    }
    refused(&evil([entry_points("evil", "[gui_scripts]\n.wh.x = a:b\n")]), &[".wh."]);
}

#[test]
fn bombs() {
    let start = Instant::now();
    refused(&evil([file("zeros", vec![0; 200 << 20])]), &["unpacked bytes", "bomb"]);
    // A size that the headers do not admit.
    let zeros = file("zeros", vec![0; 100 << 20]);
    refused(&evil([zeros.both(|h| h.size = 10)]), &["zeros", "length"]);
    // Metadata that would be in memory.
    let noise: Vec<u8> =
        (0..1_u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).rotate_left(i % 32).to_le_bytes()).collect();
    let large = [stored("noise", noise), file("evil-1.0.dist-info/METADATA", vec![b'a'; 65 << 20])];
    refused(&evil(large), &["bytes in a file of metadata"]);
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn truncated_and_changed_anywhere() {
    let wheel = evil([
        file("a.py", "some content"),
        stored("b.py", "some content").mode(0o100_755),
        file("c.py", "streamed").streamed(true),
        file("evil-1.0.data/scripts/x", "#!python\n"),
        entry_points("evil", "[console_scripts]\ny = a:b\n"),
    ]);
    let whole = wheel.bytes();
    let paths = install(&wheel).unwrap().0.paths(&python(), None).unwrap();
    for length in 0..whole.len() {
        text_of(&Install::default().bytes(&wheel, &whole[..length]).map(|_| ()).unwrap_err());
    }
    // One byte different: an error or the same paths, but no panic.
    for at in 0..whole.len() {
        for change in [0x01, 0x55, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            match Install::default().bytes(&wheel, &bytes) {
                Ok((info, _)) => assert_eq!(info.paths(&python(), None).unwrap(), paths, "{at} {change}"),
                Err(error) => drop(text_of(&error)),
            }
        }
    }
}
